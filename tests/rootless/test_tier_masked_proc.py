"""T2: a container masks /proc, so a step has no process table of its own."""

import os
import subprocess
import tarfile
import time

import pytest
from support.building import Builder, interrupt, processes, settled
from support.inside import can_confine
from support.stepdriver import started

pytestmark = pytest.mark.rootless
FUSE = os.access("/dev/fuse", os.R_OK | os.W_OK)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    if not FUSE:
        pytest.skip("T2 has a usable /dev/fuse")
    with started(tmp_path_factory.mktemp("t2"), force="T2") as found:
        yield found


def marked(mark):
    return list(processes(mark))


def test_the_tier_is_what_was_asked_for(driver):
    assert driver.host["tier"] == "T2"
    assert "don't trust" in driver.host["reason"]


def test_a_step_sees_the_processes_around_it_through_a_proc_that_it_cannot_write(driver):
    result = driver.sh("test $$ -gt 2 && echo shared; echo x > /proc/sys/kernel/core_pattern")
    assert "shared" in result.out
    assert "Read-only" in result.err


def test_exit_codes_and_signals_arrive(driver):
    assert driver.sh("exit 7").status == 7
    assert driver.sh("kill -9 $$").signal == 9


@pytest.mark.parametrize(
    "leave", ["sleep 98765 &", "(setsid sleep 98765 &) ; true", "(trap '' TERM HUP; sleep 98765) &"]
)
def test_what_a_step_leaves_running_is_killed(driver, leave):
    result = driver.sh(leave, env={"PATH": "/bin", "MARK": "stray-of-t2"})
    assert (result.status, result.error) == (0, "")
    assert result.seconds < 5
    assert marked("stray-of-t2") == []


def test_a_step_that_is_cancelled_leaves_nothing(driver):
    script = "sleep 98765 & trap '' TERM; sleep 98765"
    result = driver.sh(script, cancel_after=0.3, env={"PATH": "/bin", "MARK": "cancelled-in-t2"})
    assert result.seconds < 5
    assert marked("cancelled-in-t2") == []


@pytest.mark.skipif(
    not can_confine(),
    reason="needs Landlock of Linux 6.12",
)
def test_a_step_cannot_signal_or_read_what_is_around_it(driver):
    victim = subprocess.Popen(["sleep", "60"])
    try:
        pids = f"{victim.pid} {driver.process.pid}"
        script = f"for pid in {pids}; do kill -9 $pid && echo killed; cat /proc/$pid/environ; done"
        result = driver.sh(f"{script}; kill -9 -1; echo alone; true")
        assert "killed" not in result.out
        assert "CANARY" not in result.out
        assert victim.poll() is None
        assert driver.sh("echo still here").out == "still here\n"
    finally:
        victim.kill()
        victim.wait()


@pytest.mark.skipif(os.getuid() == 0, reason="a real root may mount /proc whatever is masked")
def test_a_whole_build_in_a_container_that_masks_proc(registry, tmp_path):
    builder = Builder(tmp_path, place="masked")
    files = {
        "Dockerfile": f"FROM {registry.host}/base:1\n"
        "RUN echo made > /file && chown alice /file && (sleep 98765 &)\nRUN cat /file\n"
    }
    run = builder.build(files, "-t", "x", "-o", f"type=tar,dest={tmp_path}/x.tar")
    assert f"tier {'T2' if FUSE else 'T3'}: root with CAP_SYS_ADMIN" in run.err
    assert "don't trust" in run.err
    with tarfile.open(tmp_path / "x.tar") as tar:
        assert tar.getmember("file").uid == 1000
    assert settled(lambda: [it for it in marked("98765") if b"sleep" in it.encode()]) == []


def test_a_builder_that_is_killed_leaves_no_step(registry, tmp_path):
    if not FUSE:
        pytest.skip("T2 has a usable /dev/fuse")
    builder = Builder(tmp_path)
    files = {
        "Dockerfile": f"FROM {registry.host}/base:1\n"
        "RUN MARK=orphan-in-t2 sh -c 'echo begun; sleep 98765 & sleep 98765'\n"
    }
    process = builder.started(files, "--isolation", "T2", "--progress", "plain", until=" begun")
    assert marked("orphan-in-t2")
    process.kill()
    process.communicate()
    assert settled(lambda: marked("orphan-in-t2")) == []
    assert settled(builder.leftovers) == []


def test_an_interrupted_build_leaves_no_step(registry, tmp_path):
    if not FUSE:
        pytest.skip("T2 has a usable /dev/fuse")
    builder = Builder(tmp_path)
    files = {
        "Dockerfile": f"FROM {registry.host}/base:1\n"
        "RUN MARK=interrupted-in-t2 sh -c 'trap \"\" INT TERM; echo begun; sleep 98765'\n"
    }
    process = builder.started(files, "--isolation", "T2", "--progress", "plain", until=" begun")
    begun = time.monotonic()
    assert interrupt(process).code == 130
    assert time.monotonic() - begun < 10
    assert settled(lambda: marked("interrupted-in-t2")) == []
