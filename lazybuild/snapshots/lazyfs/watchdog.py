"""Notices a daemon that hangs, and ends it, so that what waits for it fails instead of waiting on.

A daemon hangs when it does not answer at all, or when a read waits longer than the patience with a
registry could explain. What follows from its end is for whoever started it.
"""

import threading

from lazybuild.errors import DaemonDiedError, LazybuildError
from lazybuild.snapshots.lazyfs.client import LazyFs

INTERVAL = 2.0
GRACE = 60.0


def watch(lazy: LazyFs, lost: threading.Event, *, patience: float) -> None:
    """Look after `lazy` in a thread of its own until `lost` is set or it is closed."""
    threading.Thread(
        target=_watch, args=(lazy, lost, patience + GRACE), name="lazyfs-watchdog", daemon=True
    ).start()


def _watch(lazy: LazyFs, lost: threading.Event, longest: float) -> None:
    while not lost.wait(INTERVAL) and lazy.alive:
        if not _answers(lazy, longest) and lazy.alive:
            lazy.kill()
            return


def _answers(lazy: LazyFs, longest: float) -> bool:
    try:
        return lazy.ping() < longest
    except DaemonDiedError:
        return False
    except LazybuildError:
        return True  # it can't do its work, and says so to whoever wants it
