"""A blob in a file as a `Source`. Edge: owns one descriptor, pread only, any thread."""

import os
from pathlib import Path

from lazybuild.errors import IntegrityError


class FileSource:
    """The bytes of a file that does not change any more, or `size` of them from `start` on."""

    def __init__(self, path: Path, start: int = 0, size: int | None = None) -> None:
        self._path, self._start = path, start
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self.size = os.fstat(self._fd).st_size - start if size is None else size

    @property
    def hosts(self) -> tuple[str, ...]:
        return (str(self._path),)

    def read_at(self, offset: int, length: int) -> bytes:
        if offset + length > self.size:
            raise IntegrityError(f"{self._path}: byte {offset + length} is not the layer's")
        start = self._start + offset
        data = os.pread(self._fd, length, start)
        while data and len(data) < length:
            more = os.pread(self._fd, length - len(data), start + len(data))
            data = data + more if more else b""
        if len(data) != length:
            raise IntegrityError(f"{self._path} ends before byte {offset + length}")
        return data

    def reread_at(self, offset: int, length: int, *, tried: int = 0) -> bytes:
        del tried
        return self.read_at(offset, length)

    def close(self) -> None:
        os.close(self._fd)
