"""Who fetches what, and when: one fetch per chunk, few at a time, the urgent first.

`Gate` bounds the requests that are under way and adapts the bound: it grows while requests
succeed and others wait, and halves when one fails. `BlobLocks` keeps two processes from fetching
the same bytes: locks on byte ranges of one file for all blobs, gone when their owner is.
"""

import fcntl
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from lazybuild.oci.digest import Digest, hex_part

START_LIMIT, MAX_LIMIT = 4, 12
BLOB_BITS = 42  # of an offset in a blob; with 20 of its digest they make a file offset
# struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid, with their padding.
_FLOCK = struct.Struct("hhxxxxqqixxxx")


class RangeLocks(Protocol):
    """Mutual exclusion between processes over ranges of a blob."""

    def held(self, start: int, end: int) -> AbstractContextManager[bool]:
        """Gives True when another process had it, so that what it fetched can be looked for."""
        ...


class Gate:
    """Slots for requests. Urgent ones may use all up to the maximum, others up to the limit."""

    def __init__(self, *, start: int = START_LIMIT, maximum: int = MAX_LIMIT) -> None:
        self._condition = threading.Condition()
        self._limit, self._maximum = start, maximum
        self._active = self._urgent_waiting = self._waiting = 0

    @property
    def limit(self) -> int:
        return self._limit

    @contextmanager
    def slot(self, *, urgent: bool) -> Iterator[None]:
        self._enter(urgent)
        try:
            yield
        except BaseException:
            self._leave(grow=False)
            raise
        self._leave(grow=True)

    def _enter(self, urgent: bool) -> None:  # noqa: FBT001  private, two callers' one word
        with self._condition:
            self._waiting += 1
            self._urgent_waiting += urgent
            self._condition.wait_for(lambda: self._free(urgent))
            self._waiting -= 1
            self._urgent_waiting -= urgent
            self._active += 1

    def _free(self, urgent: bool) -> bool:  # noqa: FBT001  as above
        if urgent:
            return self._active < self._maximum
        return self._active < self._limit and not self._urgent_waiting

    def _leave(self, *, grow: bool) -> None:
        with self._condition:
            self._active -= 1
            if not grow:
                self._limit = max(1, self._limit // 2)
            elif self._waiting:
                self._limit = min(self._maximum, self._limit + 1)
            self._condition.notify_all()


class NoLocks:
    """For a blob that no other process fetches, and for tests."""

    @contextmanager
    def held(self, start: int, end: int) -> Iterator[bool]:
        del start, end
        yield False


class BlobLocks:
    """Locks of one blob among all processes that use the same store.

    A blob's bytes stand in the file at a place that its digest tells. That two blobs have the same
    one is unlikely, and would make one wait for the other.
    """

    def __init__(self, path: Path, digest: Digest) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._base = int(hex_part(digest)[:5], 16) << BLOB_BITS

    @contextmanager
    def held(self, start: int, end: int) -> Iterator[bool]:
        waited = not self._try(start, end)
        if waited:
            self._lock(fcntl.F_OFD_SETLKW, fcntl.F_WRLCK, start, end)
        try:
            yield waited
        finally:
            self._lock(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, start, end)

    def close(self) -> None:
        os.close(self._fd)

    def _try(self, start: int, end: int) -> bool:
        try:
            self._lock(fcntl.F_OFD_SETLK, fcntl.F_WRLCK, start, end)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: someone has it
            return False
        return True

    def _lock(self, command: int, kind: int, start: int, end: int) -> None:
        fcntl.fcntl(
            self._fd, command, _FLOCK.pack(kind, os.SEEK_SET, self._base + start, end - start, 0)
        )
