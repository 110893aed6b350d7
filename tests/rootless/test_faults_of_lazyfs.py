"""The lazy file system ends or hangs while a command runs: noticed, and the step runs once more."""

import os
import signal
import time

import pytest
from support.building import processes
from support.faults import ALWAYS, Fault

pytestmark = [pytest.mark.rootless, pytest.mark.usefixtures("faultless")]

MARK = " begun\n"  # the output; the name of the step has quotes in it
OFF = ("--profile-from", "off", "--profile-to", "off", "-t", "x")


def daemon(builder):
    lines = [line for line in processes(str(builder.root)) if "lazyfs.daemon" in line]
    assert len(lines) == 1
    return int(lines[0].split()[0])


def finished(process):
    _, err = process.communicate(timeout=60)
    return process.returncode, err.decode()


def dockerfile(registry, text):
    return {"Dockerfile": f"FROM {registry.host}/base:1\n{text}"}


ONCE = "RUN test ! -e /left && touch /left; echo be''gun; sleep 2; cat /bin/perl > /dev/null\n"


def test_a_step_whose_file_system_is_killed_runs_again_from_a_clean_directory(registry, builder):
    process = builder.started(dockerfile(registry, ONCE), *OFF, until=MARK)
    os.kill(daemon(builder), signal.SIGKILL)
    code, err = finished(process)
    assert code == 0, err
    assert "runs again" in err


def test_a_process_that_does_not_notice_is_ended_and_started_again(registry, builder):
    """A program that lives in memory would sleep on over a file system that is gone."""
    files = dockerfile(registry, "RUN echo be''gun; exec sleep 2\n")
    process = builder.started(files, *OFF, until=MARK)
    killed = time.monotonic()
    os.kill(daemon(builder), signal.SIGKILL)
    code, err = finished(process)
    assert (code, err.count(MARK)) == (0, 1), err
    assert time.monotonic() - killed > 2


def test_the_second_death_is_an_infrastructure_failure_and_nothing_is_cached(registry, builder):
    text = "RUN echo be''gun; sleep 1; cat /bin/perl > /dev/null\n"
    process = builder.started(dockerfile(registry, text), *OFF, until=MARK)
    first = daemon(builder)
    os.kill(first, signal.SIGKILL)
    seen = b""
    while MARK.encode() not in seen:
        seen += process.stderr.readline()
    os.kill(daemon(builder), signal.SIGKILL)
    code, err = finished(process)
    assert code == 104, err
    again = builder.build(dockerfile(registry, text), *OFF)
    assert not again.step("RUN")["cached"]


def test_a_daemon_that_hangs_is_ended(registry, builder):
    text = "RUN echo be''gun; cat /bin/perl > /dev/null; echo through\n"
    registry.fault(Fault(method="GET", path="/blobs/", delay=1.0, times=ALWAYS))
    process = builder.started(dockerfile(registry, text), *OFF, until=MARK)
    registry.script.clear()
    os.kill(daemon(builder), signal.SIGSTOP)
    code, err = finished(process)
    assert code == 0, err
    assert "runs again" in err


def test_a_registry_that_fails_in_the_middle_of_a_read_is_no_failure_of_the_program(
    registry, builder
):
    text = "RUN echo be''gun; sleep 1; cat /bin/perl > /dev/null || true\n"
    process = builder.started(dockerfile(registry, text), *OFF, until=MARK)
    registry.fault(Fault(method="GET", path="/blobs/", status=404, times=ALWAYS))
    code, err = finished(process)
    assert code == 104, err
    assert "404" in err
    registry.script.clear()
    assert not builder.build(dockerfile(registry, text), *OFF).step("RUN")["cached"]
