"""Blobs that stay where they are: in a file of the user's, whole or as a part of it.

A note for each, `places/HEX`, says where its bytes lie and what the file looked like. A file that
looks different, or is gone, has the blob no more. Whoever notes a place has checked the bytes.
"""

import io
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Self

from lazybuild.errors import BuildError, IntegrityError, UsageError
from lazybuild.oci import digest as digests
from lazybuild.oci.digest import Digest

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """`size` bytes from `offset` of a file; `stamp` tells whether it is still the same file. One of
    the store's own has none: its bytes never change, and its time does.
    """

    path: str
    offset: int = 0
    size: int
    stamp: str = ""

    @classmethod
    def whole(cls, path: Path) -> Self:
        """Of a file of the store."""
        return cls(path=str(path), size=path.stat().st_size)

    def part(self, offset: int, size: int) -> "Place":
        """Of the same file; IntegrityError when it is not that long."""
        if not 0 <= offset <= offset + size <= self.offset + self.size:
            raise IntegrityError(f"{self.path} ends before byte {offset + size}")
        return Place(path=self.path, offset=offset, size=size, stamp=self.stamp)

    @property
    def there(self) -> bool:
        try:
            status = os.lstat(self.path)
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and _stamp(status) == self.stamp

    def open(self) -> BinaryIO:
        return Window(self.descriptor(), self.offset, self.size)

    def descriptor(self) -> int:
        """An open one of the whole file. BuildError when that is not the same any more."""
        fd = os.open(self.path, _FLAGS)
        if self.stamp and _stamp(os.fstat(fd)) != self.stamp:
            os.close(fd)
            raise BuildError(f"{self.path} is not the file any more that it was")
        return fd


def place_of(path: Path) -> Place:
    """A file of somebody else's, whole: no link, device or FIFO, or UsageError."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path} is not a regular file")
    return Place(path=str(path), size=status.st_size, stamp=_stamp(status))


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


class Window(io.BufferedIOBase, BinaryIO):
    """A part of a file as a file; owns the descriptor."""

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self._fd, self._offset, self._size = fd, offset, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        data = os.pread(self._fd, wanted, self._offset + self._at)
        self._at += len(data)
        return data

    read1 = read

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


class Places:
    """The notes of one store. Safe in threads and processes: a note is renamed into place."""

    def __init__(self, root: Path) -> None:
        self._dir = root

    def note(self, digest: Digest, place: Place) -> None:
        target = self.path(digest)
        temporary = target.with_name(f".{target.name}-{os.getpid()}-{id(place)}")
        temporary.write_text(json.dumps(asdict(place)))
        temporary.rename(target)

    def get(self, digest: Digest) -> Place | None:
        """Where the blob is, as far as the look of the file tells."""
        found = self.noted(digest)
        return found if found is not None and found.there else None

    def noted(self, digest: Digest) -> Place | None:
        """Where the blob was said to be, whether or not it still is."""
        try:
            return Place(**json.loads(self.path(digest).read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):  # cut short by a crash
            return None

    def forget(self, digest: Digest) -> None:
        self.path(digest).unlink(missing_ok=True)

    def path(self, digest: Digest) -> Path:
        return self._dir / digests.hex_part(digest)

    def all(self) -> Iterator[Digest]:
        for path in sorted(self._dir.iterdir()):
            if digests.is_valid(name := f"sha256:{path.name}"):
                yield Digest(name)
