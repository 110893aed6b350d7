"""Locks between threads and processes: flock on files that come and go with their holders.

The kernel drops a lock when its holder dies, so "is it locked" means "is its owner alive", also
across pid namespaces. A lock file is removed by its holder while it is held; whoever then gets the
lock of a removed file notices and tries again.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lazybuild.store import disk


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Wait for the lock named by `path`, which need not exist, and hold it. Not reentrant."""
    fd = _acquire(path, 0)
    assert fd is not None  # noqa: S101 - a blocking flock either locks or raises
    try:
        yield
    finally:
        release(path, fd)


def try_acquire(path: Path) -> int | None:
    """Take the lock if nobody has it; returns the descriptor to `release`, or None."""
    return _acquire(path, fcntl.LOCK_NB)


def release(path: Path, fd: int) -> None:
    try:
        with disk.tidying():
            path.unlink(missing_ok=True)
    finally:
        os.close(fd)


def claim(fd: int) -> None:
    """Mark an open file or directory as ours for as long as the descriptor stays open."""
    fcntl.flock(fd, fcntl.LOCK_EX)


def is_owned(path: Path) -> bool:
    """Whether some living process has claimed this file or directory."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _acquire(path: Path, flags: int) -> int | None:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | flags)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        if _same_file(path, fd):
            return fd
        os.close(fd)


def _same_file(path: Path, fd: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(fd).st_ino
    except FileNotFoundError:
        return False
