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
from lazybuild.executor.host import Host, Ids, Tier, described
from lazybuild.linux import caps, idspace, syscalls

THREAD_END = 5.0
OVERLAY_HINT = "keep the store on a file system that overlay takes as upper (ext4, xfs, btrfs)"


def probe(root: Path, *, force: Tier | None = None) -> Host:
    """Try each rung, with the overlay on `root`, where the store will be."""
    _need_single_thread()
    userns = not _is_real_root()
    pids = _try_namespaces(userns=userns) and force != "T2"
    ids = _ids(force) if userns else "all"
    _try_overlay(root, userns=userns)
    obstacle = "as asked for" if force == "T3" else trial.fuse_obstacle(userns=userns)
    one_id = not userns and idspace.only_one()
    found = described(ids=ids, obstacle=obstacle, pids=pids, one_id=one_id)
    return _as_forced(found, force)


def enter(host: Host) -> None:
    """Move this process into its namespaces: uid 0 inside, mounts of its own."""
    _need_single_thread()
    try:
        if host.userns:
            mapping.enter(host.ids)
        else:
            syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.make_private()
    except OSError as failure:
        raise causes.userns_error("make its mounts private", failure.errno or 0) from failure


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


def _try_overlay(root: Path, *, userns: bool) -> None:
    failure = trial.attempt(lambda: trial.overlay(root, userns=userns))
    if failure:
        raise HostError(f"overlay does not work on {root}: {failure}", hint=OVERLAY_HINT)


def _as_forced(host: Host, force: Tier | None) -> Host:
    """A lower rung than the host's can be asked for, a higher one not."""
    if force is not None and host.tier != force:
        hint = mapping.RANGE_HINT if host.one_id else ""
        raise HostError(f"tier {force} can't be had here: {host.tier}: {host.reason}", hint=hint)
    return host
