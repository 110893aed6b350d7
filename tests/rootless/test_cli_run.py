"""`run` and `mount`: commands in an image as an unprivileged user, and nothing left behind."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest
from support.building import interrupt, settled
from support.faults import ALWAYS, Fault

pytestmark = pytest.mark.rootless


@pytest.fixture
def builder(builder):
    yield builder
    assert settled(lambda: list((builder.root / "tmp").glob("step-*"))) == []


def test_a_command_runs_in_an_image_that_was_never_pulled(builder, base):
    run = builder.run("run", base, "sh", "-c", "echo out; echo err >&2; id -u; exit 7", expect=7)
    assert (run.out, run.err) == ("out\n0\n", "err\n")
    assert list((builder.root / "snapshots").iterdir()) == []


def test_what_a_command_writes_is_thrown_away(builder, base):
    builder.run("run", base, "sh", "-c", "echo x > /kept; cat /kept")
    builder.run("run", base, "cat", "/kept", expect=1)


def test_the_config_says_who_where_and_with_what(builder, base):
    builder.build(
        {
            "Dockerfile": f"FROM {base}\nENV A=image B=image\nUSER alice\nWORKDIR /w\n"
            'ENTRYPOINT ["sh", "-c"]\nCMD ["echo $A $B $(id -un) $(pwd)"]\n'
        },
        "-t",
        "configured",
    )
    assert builder.run("run", "configured").out == "image image alice /w\n"
    changed = builder.run(
        "run", "-e", "B=flag", "-u", "nobody", "-w", "/tmp", "configured", "echo $B $(id -un); pwd"
    )
    assert changed.out == "flag nobody\n/tmp\n"
    assert builder.run("run", "--entrypoint", "pwd", "configured").out == "/w\n"


def test_an_image_that_has_a_layer_twice_is_mounted(builder, base):
    text = f"FROM {base}\nRUN true\nRUN true\nRUN echo x > /x\nRUN true\n"
    builder.build({"Dockerfile": text}, "-t", "twice")
    said = json.loads(builder.run("inspect", "--json", "twice").out)
    digests = [layer["digest"] for layer in said["layers"]]
    assert digests[1] == digests[2] == digests[4] != digests[3]
    assert builder.run("run", "twice", "cat", "/x").out == "x\n"
    builder.build({"Dockerfile": "FROM twice\nRUN cat /x > /y\n"}, "-t", "thrice")
    assert builder.run("run", "thrice", "cat", "/y").out == "x\n"


def test_an_image_without_a_command_says_so(builder, base):
    builder.build({"Dockerfile": f"FROM {base}\nENTRYPOINT []\nCMD []\n"}, "-t", "nothing")
    assert "names no command" in builder.run("run", "nothing", expect=2).err


def test_a_program_that_is_missing_or_cannot_run(builder, base):
    assert "no such program" in builder.run("run", base, "nothere", expect=127).err
    assert "cannot run" in builder.run("run", base, "/etc/passwd", expect=126).err


def test_directories_of_the_host_are_bound(builder, base, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "in").write_text("from the host\n")
    run = builder.run(
        "run", "-v", f"{shared}:/data", base, "sh", "-c", "cat /data/in; echo back > /data/out"
    )
    assert run.out == "from the host\n"
    assert (shared / "out").read_text() == "back\n"
    builder.run("run", "-v", f"{shared}:/data:ro", base, "touch", "/data/no", expect=1)
    assert not (shared / "no").exists()


def test_no_network_is_an_empty_one(builder, base):
    text = builder.run("run", "--network", "none", base, "cat", "/proc/net/dev").out
    assert [line.split(":")[0].strip() for line in text.splitlines()[2:]] == ["lo"]
    assert "--network bridge" in builder.run("run", "--network", "bridge", base, expect=2).err


def test_standard_input_is_given_only_when_asked_for(builder, base):
    def fed(*flags):
        process = subprocess.run(
            [sys.executable, "-m", "lazybuild", "run", *flags, base, "cat"],
            env=builder.environment,
            input=b"typed\n",
            capture_output=True,
            check=True,
        )
        return process.stdout

    assert fed("-i") == b"typed\n"
    assert fed() == b""


class Terminal:
    """A command line on a terminal of its own."""

    def __init__(self, builder, *arguments):
        self.pid, self.fd = pty.fork()
        if not self.pid:
            argv = [sys.executable, "-m", "lazybuild", *arguments]
            os.execve(sys.executable, argv, {**builder.environment, "TERM": "vt100"})
        self.seen = b""

    def until(self, text, seconds=20.0):
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self.fd], [], [], 0.1)[0]:
                self.seen += os.read(self.fd, 4096)
        before, self.seen = self.seen.split(text, 1)
        return before

    def type(self, text):
        os.write(self.fd, text)

    def status(self):
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return status


def test_a_terminal_is_passed_through(builder, base):
    terminal = Terminal(builder, "run", "-it", base, "sh")
    terminal.type(b"test -t 0 && echo term-$TERM\n")
    terminal.until(b"term-vt100")
    terminal.type(b"sleep 60\n")
    terminal.until(b"sleep 60")
    time.sleep(0.3)
    terminal.type(b"\x03")
    terminal.type(b"echo status-$?\n")
    terminal.until(b"status-130")
    terminal.type(b"exit 5\n")
    assert terminal.status() == 5


def test_a_terminal_needs_a_terminal(builder, base):
    assert "not a terminal" in builder.run("run", "-t", base, "true", expect=2).err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_too(builder, base, number):
    process = builder.start("run", base, "sh", "-c", "echo ready; sleep 60")
    assert process.stdout.readline() == b"ready\n"
    assert interrupt(process, number).code == 128 + number


def test_a_layer_that_is_damaged_is_not_taken_for_a_broken_program(builder, base, registry):
    registry.fault(Fault(method="GET", path="/blobs/", after=1, flip=3000, times=ALWAYS))
    try:
        run = builder.run("run", base, "sh", "-c", "echo fine", expect=1)
    finally:
        registry.script.clear()
    assert "sha256:" in run.err
    assert "ERROR" in run.err


def test_an_image_is_mounted_while_a_command_runs(builder, base, tmp_path):
    place = tmp_path / "mnt"
    place.mkdir()
    words = f"head -1 {place}/etc/group; exit 3"
    run = builder.run("mount", base, place, "--", "sh", "-c", words, expect=3)
    assert run.out == "root:x:0:\n"
    assert list(place.iterdir()) == []
    refused = builder.run("mount", base, place, "--", "touch", place / "new", expect=1)
    assert "Read-only" in refused.err
    assert builder.run("mount", base, place, "--", "/nothere", expect=127)


def test_a_mount_stays_until_a_signal_and_others_see_it(builder, base, tmp_path):
    place = tmp_path / "mnt"
    place.mkdir()
    process = builder.start("mount", base, place)
    line = process.stdout.readline().decode().split()
    assert os.path.exists(f"{line[-1]}/etc/passwd")
    assert interrupt(process).code == 130


def test_a_mount_needs_a_directory(builder, base, tmp_path):
    assert "not a directory" in builder.run("mount", base, tmp_path / "none", expect=2).err
