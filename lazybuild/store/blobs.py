"""Blobs on disk in an OCI image layout: `blobs/sha256/HEX`, each whole and durable or absent.

Beside them those that lie in files of the user's (`places`), which can be read like the others.
Knows no media type and no table. Safe from many threads and processes. Asking for a blob renews
its time stamp, which is what keeps the collector away from it (see `gc`).
"""

import hashlib
import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from lazybuild.errors import BuildError, IntegrityError
from lazybuild.oci import digest as digests
from lazybuild.oci.digest import Digest
from lazybuild.store import disk, lock
from lazybuild.store.places import Place, Places
from lazybuild.store.scratch import Scratch

RENEW_AFTER = 30.0  # seconds; a claim younger than this is not written again


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What an ingest made: the blob's name and its bytes."""

    digest: Digest
    size: int


class FileRanges:
    """Random access to a local blob; it stays readable even when the blob is removed."""

    def __init__(self, place: Place) -> None:
        self._fd = place.descriptor()
        self._place = place
        self.close: Callable[[], object] = weakref.finalize(self, os.close, self._fd)

    @property
    def size(self) -> int:
        return self._place.size

    def read_at(self, offset: int, length: int) -> bytes:
        if offset + length > self._place.size:
            raise self._short(offset, length)
        start = self._place.offset + offset
        data = os.pread(self._fd, length, start)
        while len(data) < length:
            more = os.pread(self._fd, length - len(data), start + len(data))
            if not more:
                raise self._short(offset, length)
            data += more
        return data

    def _short(self, offset: int, length: int) -> IntegrityError:
        return IntegrityError(f"{Path(self._place.path).name}: no {length} bytes at {offset}")


class Ingest:
    """A blob being written. `commit` makes it visible; leaving the block without drops it."""

    def __init__(self, blobs: "Blobs", scratch: Scratch) -> None:
        self._blobs = blobs
        self._file = scratch.file("ingest")
        self._hash = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        with disk.translated(self._file.path):
            self._file.stream.write(data)
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    def commit(self, expected: Digest | None = None) -> Stored:
        """Make the blob durable and visible. Raises IntegrityError if it is not `expected`."""
        actual = Digest("sha256:" + self._hash.hexdigest())
        if expected is not None and actual != expected:
            raise IntegrityError(f"blob {expected} came with the digest {actual}")
        with disk.translated(self._file.path):
            self._blobs.adopt(actual, self._file.path, self._file.stream)
        return Stored(digest=actual, size=self.size)


class Blobs:
    """All blobs of a store. What was not used after `doubted` (a time) is checked when it is."""

    doubted = 0.0

    def __init__(self, root: Path, locks: Path, scratch: Scratch) -> None:
        self._dir = root / "blobs" / "sha256"
        self._locks = locks
        self._scratch = scratch
        self.places = Places(root / "places")

    def path(self, digest: Digest) -> Path:
        """Of a blob that is the store's own."""
        return self._dir / digests.hex_part(digest)

    def has(self, digest: Digest) -> bool:
        """Whether the blob can be read; a yes keeps it here for the grace time of the collector."""
        return self.keeps(digest) or self._renewed(digest) is not None

    def keeps(self, digest: Digest) -> bool:
        """Whether the blob is the store's own, and so has the right bytes."""
        path = self.path(digest)
        return (not self._in_doubt(path) or self._is_sound(digest)) and renew(path)

    def _in_doubt(self, path: Path) -> bool:
        return bool(self.doubted) and path.exists() and path.stat().st_mtime <= self.doubted

    def _is_sound(self, digest: Digest) -> bool:
        """Look at the bytes; what is wrong is removed."""
        path = self.path(digest)
        with self._guard(digest), path.open("rb") as file:
            sound = hashlib.file_digest(file, "sha256").hexdigest() == digests.hex_part(digest)
            if sound:
                os.utime(path)
            else:
                path.unlink()
        return sound

    def place(self, digest: Digest) -> Place:
        """Where the bytes are. FileNotFoundError when nobody knows."""
        found = None if self.keeps(digest) else self._renewed(digest)
        return found or Place.whole(self.path(digest))

    def lost(self, digest: Digest) -> BuildError:
        """What to say when a blob can't be had from anywhere."""
        noted = self.places.noted(digest)
        if noted is None:
            return BuildError(f"{digest}: not in the store, and no registry is known to have it")
        return BuildError(
            f"{digest} was in {noted.path}, which has changed or is gone",
            hint="put the file back, or build from where the image is now",
        )

    def _renewed(self, digest: Digest) -> Place | None:
        found = self.places.get(digest)
        if found is not None:
            renew(self.places.path(digest))
        return found

    def size(self, digest: Digest) -> int:
        return self.path(digest).stat().st_size

    def open(self, digest: Digest) -> BinaryIO:
        found = None if self.keeps(digest) else self._renewed(digest)
        return found.open() if found else self.path(digest).open("rb")

    def read(self, digest: Digest, limit: int = 4 << 20) -> bytes:
        """A small blob (manifest, config) whole, its digest checked."""
        with self.open(digest) as file:
            data = file.read(limit + 1)
        if len(data) > limit or digests.of(data) != digest:
            raise IntegrityError(f"blob {digest} in the store is damaged")
        return data

    def ranges(self, digest: Digest) -> FileRanges:
        return FileRanges(self.place(digest))

    def ingest(self) -> Ingest:
        return Ingest(self, self._scratch)

    def put(self, data: bytes) -> Digest:
        digest = digests.of(data)
        if self.keeps(digest):
            return digest
        with self.ingest() as ingest:
            ingest.write(data)
            return ingest.commit(digest).digest

    def flight(self, digest: Digest) -> AbstractContextManager[None]:
        """Only one thread of one process at a time works on this blob; check `has` inside."""
        return lock.held(self._locks / f"flight-{digests.hex_part(digest)}")

    def adopt(self, digest: Digest, temp: Path, stream: BinaryIO) -> None:
        """Take over a finished temporary file of this store under its final name."""
        target = self.path(digest)
        stream.flush()
        with self._guard(digest):
            sound = not self._in_doubt(target) and renew(target)
            if sound and target.stat().st_size == temp.stat().st_size:
                return
            os.fchmod(stream.fileno(), 0o444)
            os.fsync(stream.fileno())
            os.rename(temp, target)  # noqa: PTH104 - the crash tests count these calls
            disk.sync_dir(self._dir)

    def delete(self, digest: Digest, *, unless: Callable[[], bool] = lambda: False) -> int:
        """Remove a blob unless `unless`, asked under its lock, says no; returns the bytes freed."""
        with self._guard(digest):
            try:
                size = self.size(digest)
                if unless():
                    return 0
                self.path(digest).unlink()
            except FileNotFoundError:
                return 0
        return size

    def all(self) -> Iterator[Digest]:
        with os.scandir(self._dir) as entries:
            for entry in entries:
                name = f"sha256:{entry.name}"
                if digests.is_valid(name):
                    yield Digest(name)

    def _guard(self, digest: Digest) -> AbstractContextManager[None]:
        return lock.held(self._locks / f"blob-{digests.hex_part(digest)}")


def renew(path: Path) -> bool:
    """Say that a file is in use from now on; False when it is not there."""
    try:
        if time.time() - path.stat().st_mtime > RENEW_AFTER:
            os.utime(path)
    except FileNotFoundError:
        return False
    return True
