"""Runs steps for tests in a process of its own, since entering namespaces can't be undone.

`Driver` is what a test holds; the rest of the file is the process it talks to, over JSON lines.
Each step gets a fresh overlay over the common root directory, changed by `image` before it runs,
and the answer tells what landed in the upper directory.
"""

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.rootfs import make_rootfs

from lazybuild.errors import LazybuildError
from lazybuild.executor import ladder
from lazybuild.executor import spec as values
from lazybuild.executor.host import Host
from lazybuild.executor.run import run
from lazybuild.linux import syscalls
from lazybuild.llb.ops import NetworkMode


@dataclass
class Result:
    status: int
    signal: int
    reason: str
    out: str
    err: str
    error: str
    message: str
    upper: list[str]
    seconds: float
    root: str
    chunks: list[tuple[float, str]] = field(default_factory=list)


class Driver:
    """A process inside the namespaces of a build."""

    def __init__(self, base: Path, force: str = "") -> None:
        self.base = base
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CANARY": "builder"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", __file__, os.fspath(base), force],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self.host = self._answer()

    def run(self, *argv: str, cancel_after: float = 0.0, image=(), **spec) -> Result:
        """`image`: operations on the root first; `spec`: fields of StepSpec, mounts as dicts."""
        request = {"argv": argv, "image": image, "cancel_after": cancel_after, "spec": spec}
        self.send(request)
        return Result(**self._answer())

    def sh(self, script: str, **options) -> Result:
        return self.run("/bin/sh", "-c", script, **options)

    def send(self, request: dict) -> None:
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the driver died: {self.process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        with self.process:  # closes the pipes, then waits
            pass


@contextlib.contextmanager
def started(base: Path, force: str = "") -> Iterator[Driver]:
    """For a fixture of a test module."""
    driver = Driver(base, force)
    try:
        yield driver
    finally:
        driver.close()


# --- the process ---------------------------------------------------------------------------------

numbers = itertools.count()


def main() -> None:
    base = Path(sys.argv[1])
    host = ladder.probe(base, force=sys.argv[2] or None)
    ladder.enter(host)
    answer({"tier": host.tier, "userns": host.userns, "reason": host.reason})
    if not (base / "lower").exists():
        make_rootfs(base / "lower")
    for line in sys.stdin.buffer:
        answer(serve(base, json.loads(line), host))
    shutil.rmtree(base, onerror=lambda _, path, __: os.chmod(os.path.dirname(path), 0o700))


def answer(value: dict) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def serve(base: Path, request: dict, host: Host) -> dict:
    place = base / str(next(numbers))
    for name in ("upper", "work", "merged"):
        (place / name).mkdir(parents=True)
    names = {"lowerdir": base / "lower", "upperdir": place / "upper", "workdir": place / "work"}
    options = (("userxattr", ""), *((key, os.fspath(path)) for key, path in names.items()))
    merged = place / "merged"
    syscalls.attach_filesystem("overlay", merged, options)
    try:
        for operation in request["image"]:
            change(merged, *operation)
        before = set(walk(place / "upper"))
        result = step(merged, request, host)
        result["upper"] = sorted(set(walk(place / "upper")) - before)
    finally:
        syscalls.umount(merged, syscalls.MNT_DETACH)
    return result


def walk(upper: Path) -> list[str]:
    return [
        os.path.relpath(os.path.join(where, name), upper)
        for where, directories, files in os.walk(upper)
        for name in (*directories, *files)
    ]


def change(root: Path, verb: str, path: str, value=None) -> None:
    target = root / path.lstrip("/")
    if verb == "rm":
        shutil.rmtree(target) if target.is_dir() and not target.is_symlink() else target.unlink()
    elif verb == "link":
        os.symlink(value, target)
    elif verb == "fifo":
        os.mkfifo(target)
    elif verb == "file":
        target.write_text(value)
    elif verb == "copy":
        shutil.copyfile(root / value.lstrip("/"), target)
        target.chmod(0o755)
    elif verb == "chmod":
        target.chmod(value)
    elif verb == "mkdir":
        target.mkdir(parents=True)
    elif verb == "time":
        os.utime(target, ns=(value, value))
    elif verb == "truncate":
        os.truncate(target, value)
    elif verb == "xattr":
        os.setxattr(target, value[0], base64.b64decode(value[1]))
    else:
        raise ValueError(verb)


def step(root: Path, request: dict, host: Host) -> dict:
    chunks: list[tuple[float, int, bytes]] = []
    cancel = threading.Event()
    started = time.monotonic()

    def keep(stream: int, data: bytes) -> None:
        chunks.append((time.monotonic() - started, stream, data))

    if request["cancel_after"]:
        timer = threading.Timer(request["cancel_after"], cancel.set)
        timer.start()
    result = {"status": -1, "signal": 0, "reason": "", "error": "", "message": ""}
    result["root"] = os.fspath(root)
    try:
        ended = run(make_spec(root, request, host), keep, cancel)
        result |= {"status": ended.status, "signal": ended.signal, "reason": ended.reason}
    except LazybuildError as failure:
        result |= {"error": type(failure).__name__, "message": f"{failure} {failure.hint}"}
    result["seconds"] = time.monotonic() - started
    for name, stream in (("out", 1), ("err", 2)):
        result[name] = b"".join(it[2] for it in chunks if it[1] == stream).decode(errors="replace")
    result["chunks"] = [(when, data.decode(errors="replace")) for when, _, data in chunks]
    return result


def make_spec(root: Path, request: dict, host: Host):
    fields = dict(request["spec"])
    fields["mounts"] = tuple(make_mount(dict(it)) for it in fields.get("mounts", ()))
    fields["ulimits"] = tuple(values.Limit(**it) for it in fields.get("ulimits", ()))
    fields["extra_hosts"] = tuple(map(tuple, fields.get("extra_hosts", ())))
    fields["network"] = NetworkMode(fields.get("network", "default"))
    fields.setdefault("env", {"PATH": "/bin"})
    fields["host"] = host
    return values.StepSpec(argv=tuple(request["argv"]), rootfs=root, **fields)


def make_mount(fields: dict):
    kind = fields.pop("kind")
    if kind == "bind":
        return values.BindMount(**{**fields, "source": Path(fields["source"])})
    if kind == "tmpfs":
        return values.TmpfsMount(**fields)
    return values.FileMount(**{**fields, "data": fields["data"].encode()})


if __name__ == "__main__":
    main()
