"""The chunk cache: decompressed chunks of files, named by their digest, shared by all layers.

Every read is verified, so a damaged chunk is a miss. The cache is bounded: the least recently used
go first. Everything in here may vanish at any time. Safe from many threads and processes.
"""

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from lazybuild.oci import digest as digests
from lazybuild.oci.digest import Digest
from lazybuild.store import lock

DEFAULT_CAP = 20 << 30
_FANOUT = 256
_RENEW_AFTER = 3600.0
_LOW_WATER = 0.9  # what is left, of the cap, after trimming


class Chunks:
    """The `chunks/` of a store, at most about `cap` bytes."""

    def __init__(self, root: Path, locks: Path, cap: int = DEFAULT_CAP) -> None:
        self._root = root
        self._lock = locks / "chunks"
        self._cap = cap
        self._mutex = threading.Lock()
        self._put = -1  # bytes put since the last look at the whole; -1: never looked

    def path(self, digest: Digest) -> Path:
        name = digests.hex_part(digest)
        return self._root / name[:2] / name

    def get(self, digest: Digest, size: int) -> bytes | None:
        """The chunk, or None when it is absent or damaged (and then it is dropped)."""
        path = self.path(digest)
        try:
            with path.open("rb") as file:
                data = file.read(size + 1)
                _renew(file.fileno())
        except FileNotFoundError:
            return None
        if len(data) == size and "sha256:" + hashlib.sha256(data).hexdigest() == digest:
            return data
        path.unlink(missing_ok=True)
        return None

    def put(self, digest: Digest, data: bytes | memoryview) -> bool:
        """Keep a verified chunk. False when the disk won't take it: a cache may fail."""
        path = self.path(digest)
        temp = path.with_name(f".{secrets.token_hex(8)}")
        try:
            _write(temp, data)
            os.rename(temp, path)  # noqa: PTH104 - the crash tests count these calls
        except OSError:
            temp.unlink(missing_ok=True)
            return False
        self._account(path.parent, len(data))
        return True

    def total(self) -> int:
        return sum(size for _, _, size in self._scan())

    def trim(self, cap: int | None = None) -> int:
        """Remove the least recently used beyond `cap`; returns the bytes freed."""
        limit = self._cap if cap is None else cap
        fd = lock.try_acquire(self._lock)
        if fd is None:
            return 0  # someone else is at it
        try:
            return self._evict(limit)
        finally:
            lock.release(self._lock, fd)

    def _account(self, directory: Path, size: int) -> None:
        """Look at the whole when enough was put; at first, guess it from one of the directories."""
        with self._mutex:
            first = self._put < 0
            self._put = max(self._put, 0) + size
            due = self._put > self._cap // 8
            if due:
                self._put = 0
        if due or (first and _directory_size(directory) * _FANOUT > self._cap):
            self.trim()

    def _evict(self, limit: int) -> int:
        found = sorted(self._scan())
        total = sum(size for _, _, size in found)
        if total <= limit:
            return 0
        goal, freed = int(limit * _LOW_WATER), 0
        for _, path, size in found:
            if total - freed <= goal:
                break
            path.unlink(missing_ok=True)
            freed += size
        return freed

    def _scan(self) -> Iterator[tuple[float, Path, int]]:
        """Every chunk, and every temporary of a dead writer: (last use, path, bytes)."""
        for index in range(_FANOUT):
            directory = self._root / f"{index:02x}"
            for name, status in _entries(directory):
                yield (status.st_mtime, directory / name, status.st_size)


def _write(temp: Path, data: bytes | memoryview) -> None:
    try:
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileNotFoundError:
        temp.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)


def _renew(fd: int) -> None:
    if time.time() - os.fstat(fd).st_mtime > _RENEW_AFTER:
        os.utime(fd)


def _directory_size(directory: Path) -> int:
    return sum(status.st_size for _, status in _entries(directory))


def _entries(directory: Path) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    yield entry.name, entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
    except FileNotFoundError:
        return
