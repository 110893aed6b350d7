"""On which rung of the ladder this host stands, found by trying, and how to step onto it.

    T1  user namespace with a range of ids, mount namespace, overlay, /dev/fuse: lazy bases
    T3  the same without a usable /dev/fuse: bases are fetched whole
        real root with CAP_SYS_ADMIN stands on T1 or T3 too and needs no user namespace

Both functions need a process with a single thread: `probe` forks children that only make system
calls and end; `enter` moves this very process into its namespaces.
"""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lazybuild.errors import HostError
from lazybuild.executor import causes, idmap
from lazybuild.linux import caps, syscalls

SUBUID, SUBGID = Path("/etc/subuid"), Path("/etc/subgid")
FUSE = Path("/dev/fuse")
HELPER_TIMEOUT = 10.0
THREAD_END = 5.0
PROC = "mount /proc"
OVERLAY_HINT = "keep the store on a file system that overlay takes as upper (ext4, xfs, btrfs)"

Tier = Literal["T1", "T3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What was found. `userns` false means real root; `reason` is one line for the user."""

    tier: Tier
    userns: bool
    fuse: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    call: str
    number: int


def probe(root: Path, *, force: Tier | None = None) -> Host:
    """Try each rung, with the overlay on `root`, where the store will be."""
    _need_single_thread()
    userns = not _is_real_root()
    failure = _try_in_child(lambda: _namespaces(userns=userns))
    if failure and failure.call == PROC:
        raise causes.masked_proc_error()
    if failure:
        raise causes.userns_error(failure.call, failure.number)
    if userns:
        _ranges()
        _helpers()
    return _forced(_with_fuse(root, userns=userns), force)


def enter(host: Host) -> None:
    """Move this process into its namespaces: uid 0 inside, mounts of its own."""
    _need_single_thread()
    if not host.userns:
        _step("unshare the mounts", lambda: syscalls.unshare(syscalls.CLONE_NEWNS))
    else:
        _enter_userns()
    _step("make the mounts private", syscalls.make_private)


# --- probing -------------------------------------------------------------------------------------


def _is_real_root() -> bool:
    return os.geteuid() == 0 and caps.has(syscalls.capget()[0], "SYS_ADMIN")


def _need_single_thread() -> None:
    if threading.active_count() > 1:
        names = ", ".join(thread.name for thread in threading.enumerate())
        raise RuntimeError(f"namespaces must be entered before the first thread starts: {names}")
    end = time.monotonic() + THREAD_END
    while len(os.listdir("/proc/self/task")) > 1:  # a joined thread is gone a moment later
        if time.monotonic() > end:
            raise RuntimeError("a thread of a library keeps this process from its namespaces")
        time.sleep(0.001)


def _with_fuse(root: Path, *, userns: bool) -> Host:
    failure = _try_in_child(lambda: _overlay(root, userns=userns))
    if failure:
        raise HostError(
            f"overlay does not work on {root}: {failure.call}: {os.strerror(failure.number)}",
            hint=OVERLAY_HINT,
        )
    way = "user namespace with a range of ids" if userns else "root with CAP_SYS_ADMIN"
    obstacle = _fuse_obstacle(userns=userns)
    if obstacle:
        return Host(
            tier="T3",
            userns=userns,
            fuse=False,
            reason=f"{way}; base layers are fetched whole: {obstacle}",
        )
    return Host(
        tier="T1", userns=userns, fuse=True, reason=f"{way}; base layers are mounted lazily"
    )


def _forced(host: Host, force: Tier | None) -> Host:
    if force == "T3" and host.fuse:
        return replace(
            host, tier="T3", fuse=False, reason=f"{host.reason.split(';')[0]}; T3 as asked for"
        )
    if force == "T1" and not host.fuse:
        raise HostError(f"tier T1 can't be had here: {host.reason}")
    return host


def _fuse_obstacle(*, userns: bool) -> str:
    try:
        os.close(os.open(FUSE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return f"there is no {FUSE}"
    except OSError as failure:
        return f"{FUSE} can't be opened ({failure.strerror})"
    failed = _try_in_child(lambda: _mount_fuse(userns=userns))
    return f"{failed.call} ({os.strerror(failed.number)})" if failed else ""


def _try_in_child(trial: Callable[[], None]) -> _Failure | None:
    """Run a trial in a child that ends with it; its namespaces and mounts go with it."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            trial()
            os.write(write, b"ok")
        except OSError as failure:
            os.write(write, f"{failure.errno} {_subject(failure)}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        verdict = pipe.read().decode(errors="replace")
    os.waitpid(child, 0)
    return None if verdict == "ok" else _failure(verdict)


def _subject(failure: OSError) -> str:
    text = str(failure.strerror or "")
    return text.rsplit("(", 1)[-1].rstrip(")")


def _failure(verdict: str) -> _Failure:
    number, _, call = verdict.partition(" ")
    return _Failure(call=call or "the trial", number=int(number or 5))


def _namespaces(*, userns: bool) -> None:
    """All namespaces of a build and of its steps; a mount shows whether the privileges are real."""
    uid, gid = os.getuid(), os.getgid()
    every = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
    every |= syscalls.CLONE_NEWPID
    syscalls.unshare(every | (syscalls.CLONE_NEWUSER if userns else 0))
    if userns:
        _map_self(uid, gid)
    syscalls.make_private()
    failure = _try_in_child(lambda: os.close(syscalls.filesystem("proc")))  # as pid 1 of the new ns
    if failure:
        raise OSError(failure.number, f"({PROC})")
    syscalls.attach_filesystem("tmpfs", "/proc")


def _map_self(uid: int, gid: int) -> None:
    """The one map that needs no helper; enough for a trial."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(fd, text.encode())
        os.close(fd)


def _overlay(root: Path, *, userns: bool) -> None:
    """Mount an overlay whose upper lies in the store, and make a file, a whiteout, a copy-up."""
    _alone(userns=userns)
    base = root / f".probe-{os.getpid()}"
    for name in ("lower/kept", "upper", "work", "merged"):
        os.makedirs(base / name)
    try:
        (base / "lower/file").touch()
        _use_overlay(base)
    finally:
        os.chmod(base / "work", 0o700)
        shutil.rmtree(base)


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
        _map_self(uid, gid)
    syscalls.make_private()


def _mount_fuse(*, userns: bool) -> None:
    """The device must be opened inside: the kernel wants one user namespace for both."""
    _alone(userns=userns)
    fd = os.open(FUSE, os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0"
    syscalls.mount("lazybuild", "/proc", "fuse", syscalls.MS_NOSUID | syscalls.MS_NODEV, options)


# --- entering ------------------------------------------------------------------------------------


def _ranges() -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    uid = os.getuid()
    return idmap.ranges_of(uid, SUBUID), idmap.ranges_of(uid, SUBGID)


def _helpers() -> tuple[str, str]:
    """Absolute paths, looked up before anything foreign is on disk."""
    found = tuple(shutil.which(name) for name in ("newuidmap", "newgidmap"))
    if not found[0] or not found[1]:
        missing = "newuidmap" if not found[0] else "newgidmap"
        raise HostError(f"{missing} is not installed", hint="sudo apt-get install uidmap")
    return found[0], found[1]


def _step(what: str, action: Callable[[], None]) -> None:
    try:
        action()
    except OSError as failure:
        raise causes.userns_error(what, failure.errno or 0) from failure


def _enter_userns() -> None:
    uid_ranges, gid_ranges = _ranges()
    commands = [
        _map_command(helper, own, ranges)
        for helper, own, ranges in zip(
            _helpers(), (os.getuid(), os.getgid()), (uid_ranges, gid_ranges), strict=True
        )
    ]
    ready, go = os.pipe()
    helper, answer = _start_mapper(commands, ready, go)
    os.close(ready)
    flags = syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS
    try:
        _step("unshare a user namespace", lambda: syscalls.unshare(flags))
        os.write(go, b"1")
    finally:
        os.close(go)  # without the byte before it, the helper just ends
    _await_mapper(helper, answer)
    _become_root()


def _map_command(helper: str, own: int, ranges: list[tuple[int, int]]) -> list[str]:
    numbers = [
        str(number)
        for it in idmap.id_map(own, ranges)
        for number in (it.inside, it.outside, it.count)
    ]
    return [helper, str(os.getpid()), *numbers]


def _start_mapper(commands: list[list[str]], ready: int, go: int) -> tuple[int, int]:
    """Fork the process that stays outside; it maps us when `ready` has a byte."""
    answer, verdict = os.pipe()
    child = os.fork()
    if child:
        os.close(verdict)
        return child, answer
    try:
        os.close(go)
        if os.read(ready, 1):
            os.write(verdict, _run_mappers(commands).encode())
    finally:
        os._exit(0)


def _run_mappers(commands: list[list[str]]) -> str:
    """Run newuidmap and newgidmap; "ok" or what went wrong."""
    for command in commands:
        try:
            run = subprocess.run(
                command, capture_output=True, timeout=HELPER_TIMEOUT, check=False, env={}
            )
        except subprocess.TimeoutExpired:
            return f"{command[0]} did not answer within {HELPER_TIMEOUT:.0f} s"
        except OSError as failure:
            return f"{command[0]}: {failure.strerror}"
        if run.returncode:
            said = run.stderr.decode(errors="replace").strip()
            return f"{command[0]} failed: {said or f'exit status {run.returncode}'}"
    return "ok"


def _await_mapper(child: int, answer: int) -> None:
    with open(answer, "rb") as pipe:
        verdict = pipe.read().decode(errors="replace")
    os.waitpid(child, 0)
    if verdict != "ok":
        raise HostError(
            verdict or "the process that maps user ids died",
            hint="newuidmap and newgidmap must be setuid root or have their file capabilities,"
            " and the ranges in /etc/subuid and /etc/subgid must belong to this user",
        )


def _become_root() -> None:
    """Ids of the new namespace; the groups of the user outside have no place in a build."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
