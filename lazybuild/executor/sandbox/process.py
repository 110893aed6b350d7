"""Processes A and B: namespaces, the init process, and the end of the step. See the package."""

import _signal  # type: ignore[import-not-found]  # `signal` costs 4 ms; has no stub
import errno
import os
import select
import struct
import sys

from lazybuild.executor.sandbox.mounts import build_proc, build_root
from lazybuild.executor.sandbox.points import Stub
from lazybuild.executor.sandbox.refused import RefusedError, describe
from lazybuild.executor.sandbox.step import become_command, keep_only
from lazybuild.executor.sandbox.strays import end_descendants, reap_orphans
from lazybuild.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Never

    from lazybuild.executor.sandbox.wire import WireSpec

ORPHANS = 1000  # milliseconds between looks at what ended
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
SCARCE = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT)


def main(spec: "WireSpec") -> "Never":
    """Process A. Without pid namespace it outlives a killed builder, to end the step after it."""
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # Python's own handler would raise anywhere
    if spec["own_pids"]:
        syscalls.die_with_parent()
    else:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != spec["parent"]:
        os._exit(1)
    for fd in (spec["status"], spec["lifeline"]):
        os.set_inheritable(fd, False)
    _seal_imports(spec)
    if spec["fakes"]:
        spec["answerer"] = _start_fakes(spec)
    stubs: list[Stub] = []
    guarded(spec, _outer, stubs)
    guarded(spec, _clean, stubs)
    os._exit(0)


def _seal_imports(spec: "WireSpec") -> None:
    """Load what is needed now: inside the step an import would run the image's code, privileged."""
    if spec["rlimits"]:
        import resource  # noqa: PLC0415 - for `step`
    if spec["network"] == "none":
        import _socket  # noqa: PLC0415 - for `_raise_loopback`
    if spec["network"] == "none" or spec["terminal"]:
        import fcntl  # noqa: F401, PLC0415 - for `_raise_loopback` and `step`
    if spec["fakes"]:
        import _socket  # noqa: F401, PLC0415 - for `_start_fakes`
        import resource  # noqa: F401, PLC0415 - for `Fakes`
    sys.meta_path.clear()


def _start_fakes(spec: "WireSpec") -> int:
    """Process S, which answers calls that need more ids than there are; it ends after the step, or
    with A. Its pid.

    Started before A has a pid namespace for its children. `spec` keeps our end of the way to it.
    """
    import _socket  # noqa: PLC0415 - loaded by `_seal_imports`

    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    parent = os.getpid()
    child = os.fork()
    if child:
        theirs.close()
        os.close(proc)
        spec["listener"] = ours.detach()
        return child
    syscalls.die_with_parent()
    if os.getppid() == parent:
        ours.close()
        _release_output()
        guarded(spec, lambda spec, _: _serve_fakes(spec, theirs, proc), [])
    os._exit(0)


def _serve_fakes(spec: "WireSpec", door: "_socket.socket", proc: int) -> None:
    import _socket  # noqa: PLC0415 - loaded by `_seal_imports`

    from lazybuild.executor.sandbox.fakes import Fakes  # noqa: PLC0415 - packed if it is wanted

    _, sent, _, _ = door.recvmsg(1, _socket.CMSG_SPACE(4))  # ends when no step could be started
    os.umask(0)
    for _, _, data in sent:
        (listener,) = struct.unpack("=i", data[:4])
        Fakes(listener, proc, spec["asked_about"], spec["groups"] or [0]).serve()


def guarded(
    spec: "WireSpec", function: "Callable[[WireSpec, list[Stub]], None]", stubs: list[Stub]
) -> None:
    """Call, and report whatever goes wrong: nobody reads a traceback here."""
    try:
        function(spec, stubs)
    except RefusedError as refusal:
        report(spec, refusal.kind, str(refusal))
    except OSError as failure:
        kind = "resource" if failure.errno in SCARCE else "build"
        report(spec, kind, f"cannot prepare the step: {describe(failure)}")
    except Exception as bug:  # noqa: BLE001 - a child must not run on into its parent's code
        report(spec, "bug", f"{type(bug).__name__}: {bug}")


def report(spec: "WireSpec", word: str, text: str) -> None:
    os.write(spec["status"], f"{word} {text}\n".encode(errors="surrogateescape"))


def _outer(spec: "WireSpec", stubs: list[Stub]) -> None:
    os.umask(0)
    if not spec["chroot"]:
        _enter_namespaces(spec)
        build_root(spec, stubs)
    alive, witness = os.pipe()  # ends when A does, in case that is before B asks for its signal
    init = os.fork()
    if not init:
        os.close(witness)
        guarded(spec, lambda spec, _: _init(spec, alive), [])
        os._exit(1)
    os.close(alive)
    if spec["fakes"]:
        os.close(spec["listener"])
    _supervise(init, spec["lifeline"], spec["answerer"], own_pids=spec["own_pids"])


def _enter_namespaces(spec: "WireSpec") -> None:
    flags = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC
    flags |= syscalls.CLONE_NEWPID if spec["own_pids"] else 0
    flags |= syscalls.CLONE_NEWNET if spec["network"] == "none" else 0
    try:
        syscalls.unshare(flags)
    except OSError as failure:
        raise RefusedError(
            "host", f"cannot make the step's namespaces: {failure.strerror}"
        ) from failure
    try:
        syscalls.unshare(syscalls.CLONE_NEWCGROUP)
    except OSError as failure:
        if failure.errno != errno.EINVAL:  # a kernel without cgroup namespaces
            raise
    syscalls.make_private()
    syscalls.sethostname(spec["hostname"])
    if spec["network"] == "none":
        _raise_loopback()


def _raise_loopback() -> None:
    import _socket  # noqa: PLC0415 - loaded by `_seal_imports`
    import fcntl  # noqa: PLC0415 - loaded by `_seal_imports`

    link = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    fcntl.ioctl(link.fileno(), SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    link.close()


def _supervise(init: int, lifeline: int, answerer: int, *, own_pids: bool) -> None:
    """Wait for the init process; kill it, and all of the step, when the builder lets go. Then for
    the process that answers, which still has to note what was made last.
    """
    _release_output()
    ended = os.pidfd_open(init)
    watched = select.poll()
    watched.register(ended, select.POLLIN)
    watched.register(lifeline, select.POLLIN)
    if own_pids:
        if ended not in [fd for fd, _ in watched.poll()]:
            os.kill(init, _signal.SIGKILL)
        os.waitpid(init, 0)
        if answerer:
            os.waitpid(answerer, 0)
        return
    while not watched.poll(ORPHANS):
        reap_orphans(init)
    end_descendants(but=answerer)


def _release_output() -> None:
    os.close(1)
    os.close(2)


def _clean(spec: "WireSpec", stubs: list[Stub]) -> None:
    """Take the mounts off, then the mount points that were made for them, last made first."""
    if stubs:
        syscalls.umount(spec["rootfs"], syscalls.MNT_DETACH)
    for stub in reversed(stubs):
        stub.remove()


def _init(spec: "WireSpec", alive: int) -> None:
    """Process B. Not dumpable: the step has the same uid and must not look into it."""
    syscalls.die_with_parent()
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    if select.select([alive], [], [], 0)[0]:  # A is gone already
        return
    _enter_root(spec)
    command = os.fork()
    if not command:
        guarded(spec, lambda spec, _: become_command(spec), [])
        os._exit(127)
    keep_only(spec["status"])
    _release_output()
    if spec["own_pids"]:
        _reap(spec, command)
    _, status = os.waitpid(command, 0)  # orphans are A's, and so is the end of all of them
    _end(spec, status)


def _enter_root(spec: "WireSpec") -> None:
    if spec["chroot"]:
        os.chroot(spec["rootfs"])
        os.chdir("/")
        return
    syscalls.unshare(syscalls.CLONE_NEWNS)
    os.chdir(spec["rootfs"])
    build_proc(own=spec["own_pids"])
    _pivot()


def _pivot() -> None:
    """Make the working directory the root, and let go of all that was there before."""
    syscalls.pivot_root(".", ".")
    syscalls.umount(".", syscalls.MNT_DETACH)
    os.chdir("/")


def _reap(spec: "WireSpec", command: int) -> "Never":
    """Collect orphans until the command ends; then nothing of the step outlives it."""
    pid, status = os.wait()
    while pid != command:
        pid, status = os.wait()
    _kill_the_rest()
    _end(spec, status)


def _end(spec: "WireSpec", status: int) -> "Never":
    code = os.waitstatus_to_exitcode(status)
    report(spec, "signal" if code < 0 else "exit", str(abs(code)))
    os._exit(0)


def _kill_the_rest() -> None:
    try:
        os.kill(-1, _signal.SIGKILL)
        while True:
            os.wait()
    except (ProcessLookupError, ChildProcessError):
        return
