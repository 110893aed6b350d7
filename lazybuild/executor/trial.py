"""Trials of what a host allows: each in a child that makes system calls and ends with them.

Namespaces and mounts go with the child. Decides nothing; needs a process with a single thread.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lazybuild.linux import syscalls

FUSE = Path("/dev/fuse")
PROC = "mount /proc"
OVERLAY = "overlay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The call that failed, and its errno."""

    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.call} ({os.strerror(self.number)})"


def attempt(trial: Callable[[], None]) -> Failure | None:
    """Run a trial in a child; what failed, if anything did."""
    verdict, _ = told(lambda: _verdict(trial))
    return None if verdict == "ok" else _failure(verdict)


def told(work: Callable[[], str]) -> tuple[str, int]:
    """What some work comes to in a child of this process, "" if it breaks; the child's status."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.write(write, work().encode())
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with open(read, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    return said, os.waitpid(child, 0)[1]


def _verdict(trial: Callable[[], None]) -> str:
    try:
        trial()
    except OSError as failure:
        return f"{failure.errno} {_subject(failure)}"
    return "ok"


def _subject(failure: OSError) -> str:
    """The call that `linux` names behind its reason, or the file it was about."""
    text = str(failure.filename or failure.strerror or "")
    return text.rsplit("(", 1)[-1].rstrip(")")


def _failure(verdict: str) -> Failure:
    number, _, call = verdict.partition(" ")
    return Failure(call=call or "the trial", number=int(number or 5))


def namespaces(*, userns: bool) -> None:
    """All namespaces of a build and of its steps; a mount shows whether the privileges are real."""
    uid, gid = os.getuid(), os.getgid()
    every = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
    every |= syscalls.CLONE_NEWPID
    syscalls.unshare(every | (syscalls.CLONE_NEWUSER if userns else 0))
    if userns:
        map_self(uid, gid)
    syscalls.make_private()
    failure = attempt(lambda: os.close(syscalls.filesystem("proc")))  # as pid 1 of the new ns
    syscalls.attach_filesystem("tmpfs", "/proc")
    if failure:
        raise OSError(failure.number, f"({PROC})")


def map_self(uid: int, gid: int) -> None:
    """The one map that needs no helper: this user is 0, and there is nobody else."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(fd, text.encode())
        os.close(fd)


def overlay(root: Path, *, userns: bool) -> None:
    """Mount an overlay whose upper lies in the store, and make a file, a whiteout, a copy-up."""
    _alone(userns=userns)
    base = root / f".probe-{os.getpid()}"
    for name in ("lower/kept", "upper", "work", "merged"):
        os.makedirs(base / name)
    try:
        (base / "lower/file").touch()
        _named(OVERLAY, lambda: _use_overlay(base))
    finally:
        os.chmod(base / "work", 0o700)
        shutil.rmtree(base)


def chroot(root: Path) -> None:
    """All that a step without namespaces asks for: devices, owners, a root of its own, a user."""
    base = root / f".probe-{os.getpid()}"
    os.makedirs(base)
    try:
        _named("mknod", lambda: os.mknod(base / "null", 0o020666, os.makedev(1, 3)))
        _named("open a device", lambda: os.close(os.open(base / "null", os.O_RDWR)))
        _named("chown", lambda: os.chown(base / "null", 1, 1))
        failure = attempt(lambda: _become_someone(base))
        if failure:
            raise OSError(failure.number, f"({failure.call})")
    finally:
        shutil.rmtree(base)


def _become_someone(base: Path) -> None:
    _named("chroot", lambda: os.chroot(base))
    _named("setgroups", lambda: os.setgroups([]))
    _named("setresuid", lambda: os.setresuid(1, 1, 1))


def _named(call: str, action: Callable[[], None]) -> None:
    try:
        action()
    except OSError as failure:
        raise OSError(failure.errno, f"({call})") from failure


def _use_overlay(base: Path) -> None:
    options = [("userxattr", "")]
    options += [(f"{name}dir", os.fspath(base / name)) for name in ("lower", "upper", "work")]
    merged = os.fspath(base / "merged")
    syscalls.attach_filesystem("overlay", merged, tuple(options))
    try:
        os.unlink(f"{merged}/file")
        os.rmdir(f"{merged}/kept")
        os.mkdir(f"{merged}/kept")
    finally:
        syscalls.umount(merged, syscalls.MNT_DETACH)


def _alone(*, userns: bool) -> None:
    uid, gid = os.getuid(), os.getgid()
    syscalls.unshare(syscalls.CLONE_NEWNS | (syscalls.CLONE_NEWUSER if userns else 0))
    if userns:
        map_self(uid, gid)
    syscalls.make_private()


def fuse_obstacle(*, userns: bool) -> str:
    """Why /dev/fuse can't be used, "" if it can."""
    try:
        os.close(os.open(FUSE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return f"there is no {FUSE}"
    except OSError as failure:
        return f"{FUSE} can't be opened ({failure.strerror})"
    failed = attempt(lambda: _mount_fuse(userns=userns))
    return str(failed) if failed else ""


def _mount_fuse(*, userns: bool) -> None:
    """The device must be opened inside: the kernel wants one user namespace for both."""
    _alone(userns=userns)
    fd = os.open(FUSE, os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0"
    syscalls.mount("lazybuild", "/proc", "fuse", syscalls.MS_NOSUID | syscalls.MS_NODEV, options)
