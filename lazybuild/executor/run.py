"""Runs a step in a sandbox of its own and streams what it says. The builder's side of the seam.

Thread rule: safe from many threads at once; each call blocks its thread until the step and every
process of it are gone. A builder that is killed takes its steps along: they die with the thread.
"""

import os
import select
import subprocess
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from lazybuild.errors import BuildError, HostError, ResourceError
from lazybuild.executor import network, parcel, places, seccomp, users
from lazybuild.executor.host import Host
from lazybuild.executor.output import PAUSE, Lines, OnOutput
from lazybuild.executor.sandbox.wire import WireMount, WireSpec
from lazybuild.executor.spec import BindMount, FileMount, StepMount, StepSpec, TmpfsMount
from lazybuild.linux import caps, syscalls
from lazybuild.llb.ops import NetworkMode

TICK: Final = 0.1  # how often a cancelled build is noticed
KILL_AFTER: Final = 1.0
DRAIN: Final = 0.3
CHUNK: Final = 256 * 1024
SIGKILL: Final = 9
SIGNALLED: Final = 128

_ERRORS: Final = {"host": HostError, "build": BuildError, "resource": ResourceError}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a command ended. `signal` is 0 unless one killed it; `reason` says what it can't.
    `moved` are inodes of files of the root that were out of the way meanwhile.
    """

    status: int
    signal: int = 0
    reason: str = ""
    cancelled: bool = False
    moved: frozenset[int] = frozenset()

    def __str__(self) -> str:
        if self.cancelled:
            return "cancelled"
        if self.reason:
            return f"exit code: {self.status}: {self.reason}"
        if self.signal == SIGKILL or self.status == SIGNALLED + SIGKILL:
            return f"exit code: {self.status}: killed, probably for lack of memory"
        if self.signal:
            return f"exit code: {self.status}: killed by signal {self.signal}"
        return f"exit code: {self.status}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stdio:
    """Descriptors for the command's standard input, -1 for none, and its standard output, -1 for
    one that `on_output` hears; with `terminal` the first is a terminal that becomes the command's
    own, all its output too, and `on_output` hears nothing.
    """

    stdin: int = -1
    stdout: int = -1
    terminal: bool = False


def run(
    spec: StepSpec, on_output: OnOutput, cancel: threading.Event, stdio: Stdio | None = None
) -> Exit:
    """Run the command to its end. Raises when it could not be started as asked."""
    identity = users.look_up(spec.rootfs, spec.user)
    if not spec.host.mounts:
        return _run_in_chroot(spec, identity, on_output, cancel, stdio or Stdio())
    with ExitStack() as stack:
        step = _Step(stack, spec, identity, on_output, stdio or Stdio())
        reports = step.watch(cancel)
    return _verdict(reports, cancelled=cancel.is_set())


def _run_in_chroot(
    spec: StepSpec,
    identity: users.Identity,
    on_output: OnOutput,
    cancel: threading.Event,
    stdio: Stdio,
) -> Exit:
    """The same where nothing can be mounted: what would be is put into the root meanwhile."""
    if spec.network is NetworkMode.NONE:
        raise HostError(
            "a step without network needs namespaces, and this host gives none (T6)",
            hint="leave --network=none out, or see lazybuild doctor",
        )
    there = places.Places(spec.rootfs)
    dev = there.make_dev()
    with places.placed(there, dev, _in_order(spec)), ExitStack() as stack:
        step = _Step(stack, spec, identity, on_output, stdio, pipes=spec.rootfs / "dev")
        reports = step.watch(cancel)
    ended = _verdict(reports, cancelled=cancel.is_set())
    return replace(ended, moved=frozenset(there.moved))


# --- what the sandbox is told --------------------------------------------------------------------


def _wire(
    spec: StepSpec, identity: users.Identity, *, status: int, lifeline: int, terminal: bool
) -> WireSpec:
    faked = spec.host.one_id and not identity.uid
    return {
        "parent": os.getpid(),
        "status": status,
        "lifeline": lifeline,
        "terminal": terminal,
        "rootfs": os.fspath(spec.rootfs),
        "argv": list(spec.argv),
        "env": {"HOME": identity.home, **spec.env},
        "cwd": spec.cwd,
        "uid": identity.uid,
        "gid": identity.gid,
        "groups": list(identity.groups),
        "one_id": spec.host.one_id,
        "fakes": seccomp.fakes() if faked else b"",
        "asked_about": seccomp.asked_about() if faked else {},
        "listener": -1,
        "answerer": 0,
        "own_pids": spec.host.pids,
        "hostname": spec.hostname,
        "network": "none" if spec.network is NetworkMode.NONE else "host",
        "shm_size": spec.shm_size,
        "chroot": not spec.host.mounts,
        "mounts": [_wire_mount(mount) for mount in _in_order(spec)] if spec.host.mounts else [],
        "capabilities": _capabilities(spec.host),
        "seccomp": seccomp.docker_default(),
        "rlimits": [(limit.number, limit.soft, limit.hard) for limit in spec.ulimits],
    }


def _capabilities(host: Host) -> int:
    """A chroot is a wall only to those who can't make another one."""
    names = caps.DOCKER_DEFAULT if host.mounts else set(caps.DOCKER_DEFAULT) - {"SYS_CHROOT"}
    return caps.mask(names) & (-1 if host.mounts else syscalls.capget()[1])


def _in_order(spec: StepSpec) -> list[StepMount]:
    """Parents before what lies in them; the step's own mounts win over ours."""
    name = spec.hostname if spec.host.mounts else os.uname().nodename
    hosts = network.hosts(name, spec.extra_hosts)
    ours = (
        FileMount(dest="/etc/resolv.conf", data=network.resolv_conf(), mode=0o644, readonly=True),
        FileMount(dest="/etc/hosts", data=hosts, mode=0o644, readonly=True),
    )
    return sorted((*ours, *spec.mounts), key=_depth)


def _depth(mount: StepMount) -> int:
    return len([name for name in mount.dest.split("/") if name not in ("", ".")])


def _wire_mount(mount: StepMount) -> WireMount:
    wire: WireMount = {
        "kind": "tmpfs",
        "dest": mount.dest,
        "source": "",
        "selector": "",
        "readonly": False,
        "size": 0,
        "data": b"",
        "mode": 0,
        "uid": 0,
        "gid": 0,
    }
    match mount:
        case BindMount(source=source, selector=selector, readonly=readonly):
            wire |= {"kind": "bind", "source": os.fspath(source), "selector": selector}
            wire["readonly"] = readonly
        case TmpfsMount(size=size):
            wire["size"] = size
        case FileMount(data=data, mode=mode, uid=uid, gid=gid, readonly=readonly):
            wire |= {"kind": "file", "data": data, "mode": mode, "uid": uid, "gid": gid}
            wire["readonly"] = readonly
    return wire


# --- the running sandbox -------------------------------------------------------------------------


def _pipe(stack: ExitStack, path: Path | None = None) -> tuple[int, int]:
    """With a `path` it is the FIFO there, for steps that can't open it by way of /proc."""
    if path is None:
        read, write = os.pipe()
    else:
        read = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        write = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        os.set_blocking(read, True)
    stack.callback(os.close, read)
    return read, write


class _Step:
    """One sandbox process and the pipes to it."""

    def __init__(
        self,
        stack: ExitStack,
        spec: StepSpec,
        identity: users.Identity,
        on_output: OnOutput,
        stdio: Stdio,
        *,
        pipes: Path | None = None,
    ) -> None:
        self._out, out = _pipe(stack, pipes and pipes / "stdout")
        self._err, err = _pipe(stack, pipes and pipes / "stderr")
        self._status, status = _pipe(stack)
        alive, self._lifeline = _pipe(stack)
        ours = (out, err, status)
        try:
            wire = _wire(spec, identity, status=status, lifeline=alive, terminal=stdio.terminal)
            sealed = parcel.pack(wire)
            stack.callback(os.close, sealed)
            said = out if stdio.stdout < 0 else stdio.stdout
            standard = (stdio.stdin,) * 3 if stdio.terminal else (stdio.stdin, said, err)
            self._process = _start(sealed, standard, (sealed, status, alive))
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            for fd in ours:
                os.close(fd)
        stack.callback(self._end)
        self._lines = {self._out: Lines(1, on_output), self._err: Lines(2, on_output)}
        self._reports = b""
        self._kill_at = 0.0

    def watch(self, cancel: threading.Event) -> bytes:
        """Pass output on until the sandbox has ended; returns its reports."""
        poll = select.poll()
        waiting = {self._out, self._err, self._status}
        for fd in waiting:
            poll.register(fd, select.POLLIN)
        deadline = 0.0
        while waiting and not (deadline and time.monotonic() > deadline):
            for fd, _ in poll.poll(self._patience() * 1000):
                if not self._read(fd):
                    waiting.discard(fd)
                    poll.unregister(fd)
            for lines in self._lines.values():
                lines.pause()
            if cancel.is_set():
                self._let_go()
            if self._status not in waiting and not deadline:
                deadline = time.monotonic() + DRAIN  # all are dead; nobody else can hold a pipe
        for lines in self._lines.values():
            lines.flush()
        return self._reports

    def _patience(self) -> float:
        return min(TICK, PAUSE) if any(it.waiting for it in self._lines.values()) else TICK

    def _read(self, fd: int) -> bool:
        data = os.read(fd, CHUNK)
        if fd == self._status:
            self._reports += data
        elif data:
            self._lines[fd].feed(data)
        return bool(data)

    def _let_go(self) -> None:
        """End the step: the sandbox kills its init when the lifeline ends, or is killed itself."""
        if self._lifeline < 0:
            if time.monotonic() > self._kill_at:
                self._process.kill()
            return
        os.close(self._lifeline)
        self._lifeline = -1
        self._kill_at = time.monotonic() + KILL_AFTER

    def _end(self) -> None:
        """Leave nothing behind, whatever made us stop."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
        try:
            self._process.wait(KILL_AFTER)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _start(
    sealed: int, standard: tuple[int, int, int], passed: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    """Start the interpreter, with nothing of the builder's environment and none of its files."""
    stdin, out, err = standard
    try:
        return subprocess.Popen(
            parcel.command(sealed),
            stdin=subprocess.DEVNULL if stdin < 0 else stdin,
            stdout=out,
            stderr=err,
            env={},
            cwd="/",
            pass_fds=passed,
            start_new_session=True,
        )
    except OSError as failure:
        raise ResourceError(f"cannot start a step: {failure.strerror}") from failure


def _verdict(reports: bytes, *, cancelled: bool) -> Exit:
    """What the reports mean: a failure of ours before anything the command said."""
    found = [line.partition(" ") for line in reports.decode(errors="replace").splitlines()]
    for word, _, text in found:
        if word in _ERRORS:
            raise _ERRORS[word](text)
        if word == "bug":
            raise RuntimeError(f"the sandbox failed: {text}")
    if not found:
        return Exit(status=SIGNALLED + SIGKILL, signal=SIGKILL, cancelled=cancelled)
    word, _, text = found[0]
    if word == "signal":
        number = int(text)
        return Exit(status=SIGNALLED + number, signal=number, cancelled=cancelled)
    if word == "exit":
        return Exit(status=int(text), cancelled=cancelled)
    return Exit(status=int(word), reason=text, cancelled=cancelled)
