"""How steps begin and end: exit codes, output, leftovers, cancelling, and a builder that dies."""

import os
import signal
import subprocess
import time

import pytest
from support.stepdriver import Driver, started

pytestmark = pytest.mark.rootless


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    with started(tmp_path_factory.mktemp("life") / "store") as driver:
        yield driver


def processes_with(mark: str) -> list[str]:
    run = subprocess.run(["pgrep", "-f", mark], capture_output=True, text=True, check=False)
    return [pid for pid in run.stdout.split() if int(pid) != os.getpid()]


def wait_for_none(mark: str, seconds: float = 5.0) -> list[str]:
    deadline = time.monotonic() + seconds
    while processes_with(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    return processes_with(mark)


def test_exit_codes_and_signals(box):
    assert box.sh("exit 7").status == 7
    assert (box.sh("kill -9 $$").status, box.sh("kill -9 $$").signal) == (137, 9)
    assert box.sh("kill -TERM $$").status == 143


def test_a_program_that_is_missing_or_cannot_run(box):
    missing = box.run("nothere")
    assert (missing.status, missing.reason) == (127, "cannot run nothere: no such program in PATH")
    assert box.run("/etc/passwd").status == 126
    assert box.run("/bin/none").reason == "cannot run /bin/none: no such program"
    image = [("file", "/bin/text", "no shebang"), ("chmod", "/bin/text", 0o755)]
    assert "Exec format error" in box.run("text", image=image).reason


def test_output_keeps_its_stream_and_its_bytes(box):
    result = box.sh("echo one; echo two >&2; printf 'no newline'")
    assert (result.out, result.err) == ("one\nno newline", "two\n")


def test_output_comes_line_by_line_while_the_step_runs(box):
    result = box.sh("echo early; sleep 0.6; echo late; printf part; sleep 0.6; echo ial")
    texts = [text for _, text in result.chunks]
    assert texts == ["early\n", "late\n", "part", "ial\n"]
    times = [when for when, _ in result.chunks]
    assert times[1] - times[0] > 0.4
    assert times[3] - times[2] > 0.2


def test_much_output_arrives_whole(box):
    result = box.sh("i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done")
    lines = result.out.splitlines()
    assert len(lines) == 30000
    assert lines[-1] == "line 29999"


def test_a_daemon_that_holds_stdout_does_not_hold_the_step(box):
    stubborn = "perl -e 'fork and exit; $SIG{TERM} = q(IGNORE); sleep 4711'"
    result = box.sh(f"sleep 4711 & {stubborn} & sleep 0.2; echo done")
    assert (result.status, result.out) == (0, "done\n")
    assert result.seconds < 2
    assert wait_for_none("sleep 4711") == []


def test_orphans_are_reaped_while_the_step_runs(box):
    script = (
        "for i in 1 2 3 4 5; do (true &) ; done; sleep 0.3; cat /proc/[0-9]*/stat | grep -c ' Z '"
    )
    assert box.sh(script).out == "0\n"


def test_kill_minus_one_hurts_only_the_step(box):
    result = box.sh("sleep 100 & kill -9 -1; echo unreachable")
    assert result.seconds < 5
    assert box.run("true").status == 0


def test_cancel_ends_a_step_within_a_second(box):
    result = box.sh("trap '' TERM INT HUP; echo up; sleep 60", cancel_after=0.3)
    assert result.out == "up\n"
    assert result.signal == 9
    assert 0.3 <= result.seconds < 1.5


def test_cancel_ends_a_fork_bomb(box):
    script = "ulimit -u 2000; b() { b & b & wait; }; b"
    result = box.sh(script, cancel_after=0.5)
    assert result.seconds < 8
    assert box.run("echo", "alive").out == "alive\n"


def test_cancel_removes_the_mount_points(box, tmp_path):
    mounts = [
        {"kind": "bind", "source": str(tmp_path), "dest": "/cache"},
        {"kind": "file", "dest": "/cache/secret", "data": "x"},
    ]
    result = box.sh("sleep 60", cancel_after=0.3, mounts=mounts)
    assert result.signal == 9
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_builder_that_is_killed_takes_the_step_along(tmp_path, number):
    driver = Driver(tmp_path / "store")
    mark = f"sleep 31{os.getpid()}{int(number)}"
    script = f"trap '' TERM; {mark} & {mark}"
    driver.send({"argv": ["/bin/sh", "-c", script], "image": [], "cancel_after": 0, "spec": {}})
    deadline = time.monotonic() + 10
    while len(processes_with(mark)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(processes_with(mark)) >= 2
    driver.process.send_signal(number)
    driver.process.wait(10)
    assert wait_for_none(mark) == []
    driver.close()
    with started(tmp_path / "store2") as other:  # tidies what the first could not
        assert other.run("true").status == 0
    subprocess.run(["chmod", "-R", "u+rwx", tmp_path / "store"], check=True)


def test_a_sandbox_that_is_killed_is_reported_as_killed(box):
    """As the kernel's memory killer would do to the init process."""
    driver_pid = box.process.pid
    box.send({"argv": ["/bin/sleep", "60"], "image": [], "cancel_after": 0, "spec": {}})
    deadline = time.monotonic() + 5
    children: list[str] = []
    while not children and time.monotonic() < deadline:
        run = subprocess.run(
            ["pgrep", "-P", str(driver_pid)], capture_output=True, text=True, check=False
        )
        children = run.stdout.split()
        time.sleep(0.05)
    time.sleep(0.2)
    os.kill(int(children[0]), signal.SIGKILL)
    answer = box._answer()
    assert (answer["status"], answer["signal"]) == (137, 9)
    assert box.run("true").status == 0


def test_steps_at_once_do_not_meet(tmp_path_factory):
    with (
        started(tmp_path_factory.mktemp("one") / "s") as one,
        started(tmp_path_factory.mktemp("two") / "s") as two,
    ):
        one.send({"argv": ["/bin/sleep", "0.5"], "image": [], "cancel_after": 0, "spec": {}})
        assert two.sh("ls -d /proc/[0-9]* | wc -l").out.strip() < "9"
        assert one._answer()["status"] == 0
