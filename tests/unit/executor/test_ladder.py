"""The ladder's decisions. That it climbs is shown by the rootless tests, which stand on it."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lazybuild.errors import HostError
from lazybuild.executor import idmap, ladder, mapping, trial
from lazybuild.executor.host import ORDINARY, described, in_chroot
from lazybuild.linux import caps


def test_a_thread_is_refused():
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="thread"):
            ladder.enter(ORDINARY)
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("lacks", "tier"),
    [
        ({}, "T1"),
        ({"pids": False}, "T2"),
        ({"obstacle": "there is no /dev/fuse"}, "T3"),
        ({"obstacle": "there is no /dev/fuse", "pids": False}, "T3"),
        ({"unstacked": "no overlay", "pids": False}, "T4"),
        ({"unstacked": "no overlay", "one_id": True}, "T5"),
    ],
)
def test_the_lowest_rung_counts_and_every_lack_is_told(lacks, tier):
    found = described(ids="range", **lacks)
    assert found.tier == tier
    assert ("there is no /dev/fuse" in found.reason) == ("obstacle" in lacks)
    assert ("don't trust" in found.reason) == ("pids" in lacks)
    assert found.overlay == ("unstacked" not in lacks)
    assert ("no overlay: base layers are fetched whole" in found.reason) != found.overlay


def test_a_rung_that_the_host_does_not_have_cannot_be_conjured():
    lacking = described(ids="range", obstacle="none")
    assert ladder._as_forced(lacking, None) == lacking
    assert ladder._as_forced(lacking, "T3") == lacking
    with pytest.raises(HostError, match="T1 can't be had"):
        ladder._as_forced(lacking, "T1")


def test_the_last_rung_has_nothing_but_a_chroot():
    host = in_chroot("a filter")
    assert (host.tier, host.mounts, host.overlay, host.pids, host.fuse) == ("T6", *[False] * 4)
    assert "(a filter)" in host.reason
    assert "don't trust" in host.reason


REFUSED = """
import os, sys
from pathlib import Path
from lazybuild.errors import HostError
from lazybuild.executor import ladder
from lazybuild.linux import syscalls
if capabilities := int(sys.argv[2]):
    os.geteuid = lambda: 0
    syscalls.capget = lambda: (capabilities, capabilities, 0)
try:
    ladder.probe(Path(sys.argv[1]), force="T6")
except HostError as error:
    print(error)
"""


def refusal(folder, capabilities=0):
    """What is said of the last rung, in a process without threads of other tests."""
    words = [sys.executable, "-c", REFUSED, folder, str(capabilities)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_a_root_with_too_few_capabilities_is_told_which(tmp_path):
    some = caps.mask(set(caps.DOCKER_DEFAULT) - {"MKNOD", "SETFCAP"})
    assert "as asked for; no chroot either: root lacks MKNOD, SETF" in refusal(tmp_path, some)


@pytest.mark.skipif(os.getuid() == 0, reason="root has it")
def test_a_plain_user_has_no_last_rung(tmp_path):
    assert "as asked for" in refusal(tmp_path)


def test_a_trial_reports_what_failed():
    def fail():
        raise OSError(errno.EPERM, "Operation not permitted (fsopen tmpfs)")

    failure = trial.attempt(fail)
    assert failure is not None
    assert (failure.number, failure.call) == (errno.EPERM, "fsopen tmpfs")
    assert trial.attempt(lambda: None) is None


def test_a_trial_that_dies_is_a_failure():
    failure = trial.attempt(lambda: __import__("os").kill(__import__("os").getpid(), 9))
    assert failure is not None


@pytest.mark.parametrize(
    "script", ["exit 1", "echo 'newuidmap: uid range not allowed' >&2; exit 1"]
)
def test_a_mapper_that_fails_is_quoted(tmp_path, script):
    helper = tmp_path / "newuidmap"
    helper.write_text(f"#!/bin/sh\n{script}\n")
    helper.chmod(0o755)
    said = mapping.run_helpers([[str(helper), "1"]])
    assert "newuidmap failed: " in said
    assert ("uid range not allowed" in said) == ("echo" in script)


def test_a_mapper_that_hangs_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(mapping, "HELPER_TIMEOUT", 0.2)
    assert "did not answer" in mapping.run_helpers([["/bin/sleep", "5"]])


def test_a_mapper_that_is_not_there():
    assert "No such file" in mapping.run_helpers([["/does/not/exist"]])


def test_missing_helpers_are_named(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostError, match="newuidmap is not installed") as caught:
        mapping.helpers()
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
    command = mapping.map_command("/usr/bin/newuidmap", 77, 1000, [(100000, 65536), (5, 6)])
    assert command[1] == "77"
    assert command[2:] == "0 1000 1 1 100000 65536 65537 5 6".split()  # noqa: SIM905 - as newuidmap reads it
    assert Path(command[0]).name == "newuidmap"


@pytest.mark.parametrize(
    ("text", "there"),
    [("", False), ("other:1:2\n", False), ("{me}:1:2\n", True), ("{me}:x:y\n", True)],
)
def test_a_range_that_makes_no_sense_is_still_one(tmp_path, text, there):
    """So that it is an error and not a build with one id."""
    file = tmp_path / "subuid"
    file.write_text(text.format(me=os.getuid()))
    assert idmap.has_range(os.getuid(), file) == there
    assert not idmap.has_range(os.getuid(), tmp_path / "none")
