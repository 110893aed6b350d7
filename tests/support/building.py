"""Runs the command line as a user would: a process of its own, a store of its own.

with registry_with_base(folder) as registry: ...      # registry.host + "/base:1" is eStargz
builder = Builder(folder); builder.build({"Dockerfile": "FROM scratch"}, "-t", "x")
"""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support import containers
from support.registry import LocalRegistry
from support.rootfs import make_rootfs

SOURCES = Path(__file__).parent.parent.parent


@dataclass
class Run:
    """How a command ended."""

    code: int
    out: str
    err: str
    metadata: dict = field(default_factory=dict)

    @property
    def stats(self):
        return self.metadata["lazybuild.stats"]

    @property
    def digest(self):
        return self.metadata["containerimage.digest"]

    def step(self, part):
        return next(step for step in self.stats["steps"] if part in step["name"])


class Builder:
    """One store and the commands over it."""

    def __init__(self, folder: Path, *, place="", **environment):
        """`place` is a kind of support.containers to run the commands in."""
        self.folder = folder
        self.place = place
        self.root = folder / "store"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LAZYBUILD_ROOT": str(self.root),
            "PYTHONPATH": str(SOURCES),
            "PYTHONDONTWRITEBYTECODE": os.environ.get("PYTHONDONTWRITEBYTECODE", ""),
            **environment,
        }

    def start(self, *arguments, stdin_bytes=None, **options):
        command = [sys.executable, "-m", "lazybuild", *map(str, arguments)]
        return subprocess.Popen(
            containers.command(self.place, *command) if self.place else command,
            env=self.environment,
            stdin=subprocess.DEVNULL if stdin_bytes is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    def run(self, *arguments, expect=0):
        """Run a command to its end; `expect` is its exit code, None any."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        run = Run(process.returncode, out.decode(), err.decode())
        asked = expect is None or run.code == expect
        assert asked, f"exit code {run.code}\n{run.err}\n{run.out}"
        return run

    def context(self, files):
        """A directory with these files; a value that is a tuple is (text, mode)."""
        number = len(list(self.folder.glob("context-*")))
        place = self.folder / f"context-{number}"
        place.mkdir(parents=True)
        for name, value in files.items():
            text, mode = value if isinstance(value, tuple) else (value, 0o644)
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            path.chmod(mode)
        return place

    def build(self, files, *flags, expect=0):
        context = self.context(files) if isinstance(files, dict) else files
        metadata = self.folder / "metadata.json"
        metadata.unlink(missing_ok=True)
        run = self.run("build", *flags, "--metadata-file", metadata, context, expect=expect)
        if metadata.exists():
            run.metadata = json.loads(metadata.read_text())
        return run

    def started(self, files, *flags, until):
        """A build that goes on, once its output holds `until`."""
        process = self.start("build", *flags, self.context(files))
        seen = b""
        while until.encode() not in seen:
            line = process.stderr.readline()
            assert line, seen.decode()
            seen += line
        return process

    def leftovers(self):
        """What an ended build must not leave: processes and mounts of this store."""
        mounts = [
            line for line in Path("/proc/mounts").read_text().splitlines() if str(self.root) in line
        ]
        return mounts + list(processes(str(self.root)))


@contextmanager
def settling_builder(folder: Path, **options):
    """A builder that has left no process and no mount when its test is over."""
    builder = Builder(folder, **options)
    yield builder
    assert settled(builder.leftovers) == []


def processes(part):
    """Command lines and environments of running processes that mention a path."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if part.encode() in text and int(entry.name) != os.getpid():
            yield f"{entry.name} {(entry / 'cmdline').read_bytes()!r}"


def settled(check, seconds=10.0):
    """The value of `check` once it is empty, or its last one."""
    end = time.monotonic() + seconds
    while (found := check()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def interrupt(process, number=signal.SIGINT):
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    return Run(process.returncode, out.decode(), err.decode())


@contextmanager
def registry_with_base(folder: Path):
    """A registry that has `base:1`, an eStargz image of a few programs, pushed by lazybuild."""
    with LocalRegistry() as registry:
        builder = Builder(folder / "base-builder")
        rootfs = make_rootfs(folder / "rootfs")
        context = builder.context({"Dockerfile": 'FROM scratch\nADD rootfs.tar /\nCMD ["sh"]\n'})
        with tarfile.open(context / "rootfs.tar", "w") as tar:
            tar.add(rootfs, ".", filter=_of_root)
        builder.build(context, "-t", f"{registry.host}/base:1", "--push")
        yield registry


def _of_root(member):
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
