"""The ladder's decisions. That it climbs is shown by the rootless tests, which stand on it."""

import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lazybuild.errors import HostError
from lazybuild.executor import ladder
from lazybuild.executor.ladder import Host


def host(**changes):
    fields = {"tier": "T1", "userns": True, "fuse": True, "reason": "way; lazily"}
    return Host(**{**fields, **changes})


def test_a_thread_is_refused():
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="thread"):
            ladder.enter(host())
    finally:
        done.set()
        thread.join()


def test_t3_can_be_forced_and_t1_cannot_be_conjured():
    assert ladder._forced(host(), "T3") == host(
        tier="T3", fuse=False, reason="way; T3 as asked for"
    )
    assert ladder._forced(host(), None) == host()
    with pytest.raises(HostError, match="T1 can't be had"):
        ladder._forced(host(tier="T3", fuse=False), "T1")


def test_a_trial_reports_what_failed():
    def fail():
        raise OSError(errno.EPERM, "Operation not permitted (fsopen tmpfs)")

    failure = ladder._try_in_child(fail)
    assert failure is not None
    assert (failure.number, failure.call) == (errno.EPERM, "fsopen tmpfs")
    assert ladder._try_in_child(lambda: None) is None


def test_a_trial_that_dies_is_a_failure():
    failure = ladder._try_in_child(lambda: __import__("os").kill(__import__("os").getpid(), 9))
    assert failure is not None


@pytest.mark.parametrize(
    "script", ["exit 1", "echo 'newuidmap: uid range not allowed' >&2; exit 1"]
)
def test_a_mapper_that_fails_is_quoted(tmp_path, script):
    helper = tmp_path / "newuidmap"
    helper.write_text(f"#!/bin/sh\n{script}\n")
    helper.chmod(0o755)
    said = ladder._run_mappers([[str(helper), "1"]])
    assert "newuidmap failed: " in said
    assert ("uid range not allowed" in said) == ("echo" in script)


def test_a_mapper_that_hangs_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(ladder, "HELPER_TIMEOUT", 0.2)
    assert "did not answer" in ladder._run_mappers([["/bin/sleep", "5"]])


def test_a_mapper_that_is_not_there():
    assert "No such file" in ladder._run_mappers([["/does/not/exist"]])


def test_missing_helpers_are_named(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostError, match="newuidmap is not installed") as caught:
        ladder._helpers()
    assert "uidmap" in caught.value.hint


def test_probe_leaves_nothing_behind_and_is_quick(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from lazybuild.executor import ladder\n"
        "start = time.perf_counter(); ladder.probe(Path(sys.argv[1]))\n"
        "print(time.perf_counter() - start)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "store"],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        assert "HostError" in run.stderr  # this user has no range of ids
    else:
        assert float(run.stdout) < 0.5
        assert list((tmp_path / "store").iterdir()) == []


def test_the_map_command_names_every_range():
    command = ladder._map_command("/usr/bin/newuidmap", 1000, [(100000, 65536), (5, 6)])
    assert command[2:] == "0 1000 1 1 100000 65536 65537 5 6".split()  # noqa: SIM905 - as newuidmap reads it
    assert Path(command[0]).name == "newuidmap"
