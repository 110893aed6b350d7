"""On which rung of the ladder (`host`) this host stands, found by trying, and how to step onto it.

Both functions need a process with a single thread: `probe` forks children that only make system
calls and end; `enter` moves this very process into its namespaces.
"""

import os
import threading
import time
from pathlib import Path

from lazybuild.errors import HostError
from lazybuild.executor import causes, mapping, trial
from lazybuild.executor.host import Host, Ids, Tier, described, in_chroot
from lazybuild.linux import caps, idspace, syscalls

THREAD_END = 5.0
CHROOT_NEEDS = (
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "MKNOD", "SETFCAP", "SETGID", "SETPCAP", "SETUID",
    "SYS_CHROOT",
)  # fmt: skip


def probe(root: Path, *, force: Tier | None = None) -> Host:
    """Try each rung, with the overlay on `root`, where the store will be."""
    _need_single_thread()
    if force == "T6":
        return _in_chroot(root, HostError("as asked for"))
    try:
        pids = _try_namespaces(userns=not _is_real_root()) and force != "T2"
    except HostError as refusal:
        return _as_forced(_in_chroot(root, refusal), force)
    return _as_forced(_with_namespaces(root, force, pids=pids), force)


def enter(host: Host) -> None:
    """Move this process into its namespaces: uid 0 inside, mounts of its own."""
    _need_single_thread()
    if not host.mounts:
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)  # a step of the same user could trace it
        return
    try:
        if host.userns:
            mapping.enter(host.ids)
        else:
            syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.make_private()
    except OSError as failure:
        raise causes.userns_error("make its mounts private", failure.errno or 0) from failure


def _with_namespaces(root: Path, force: Tier | None, *, pids: bool) -> Host:
    userns = not _is_real_root()
    ids = _ids(force) if userns else "all"
    unstacked = "as asked for" if force == "T4" else _overlay_obstacle(root, userns=userns)
    obstacle = "as asked for" if force == "T3" else trial.fuse_obstacle(userns=userns)
    one_id = not userns and idspace.only_one()
    return described(ids=ids, obstacle=obstacle, pids=pids, one_id=one_id, unstacked=unstacked)


def _in_chroot(root: Path, refusal: HostError) -> Host:
    """The last rung; `refusal` says why it is not a higher one, and is raised when this is none."""
    lacking = [name for name in CHROOT_NEEDS if not caps.has(syscalls.capget()[0], name)]
    if os.geteuid():
        raise refusal
    if lacking:
        wanted = f"no chroot either: root lacks {', '.join(lacking)}"
        raise HostError(f"{refusal.message}; {wanted}", hint=refusal.hint)
    failure = trial.attempt(lambda: trial.chroot(root))
    if failure:
        raise HostError(f"{refusal.message}; no chroot either: {failure}", hint=refusal.hint)
    return in_chroot(refusal.message)


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


def _ids(force: Tier | None) -> Ids:
    return "one" if force == "T5" else mapping.available()


def _try_namespaces(*, userns: bool) -> bool:
    """Whether a step can have a process table of its own; raises when there are no namespaces."""
    failure = trial.attempt(lambda: trial.namespaces(userns=userns))
    if failure and failure.call != trial.PROC:
        raise causes.userns_error(failure.call, failure.number)
    return failure is None


def _overlay_obstacle(root: Path, *, userns: bool) -> str:
    """Why overlay can't keep its directories in the store, "" if it can."""
    failure = trial.attempt(lambda: trial.overlay(root, userns=userns))
    if failure and failure.call != trial.OVERLAY:
        raise HostError(f"the store can't be used: {failure}", hint="choose another with --root")
    return f"overlay does not work on {root} ({os.strerror(failure.number)})" if failure else ""


def _as_forced(host: Host, force: Tier | None) -> Host:
    """A lower rung than the host's can be asked for, a higher one not."""
    if force is not None and host.tier != force:
        hint = mapping.RANGE_HINT if host.one_id else ""
        raise HostError(f"tier {force} can't be had here: {host.tier}: {host.reason}", hint=hint)
    return host
