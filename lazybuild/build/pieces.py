"""An iterator of byte strings as a file to read from, so that a download can be unpacked."""

import io
from collections.abc import Iterator
from typing import BinaryIO


class Pieces(io.BufferedIOBase, BinaryIO):
    """Reads the pieces one after the other. Closing it closes the iterator, too."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return bytes(self._rest) + b"".join(self._pieces)
        found = bytearray()
        while len(found) < size:
            part = self.read1(size - len(found))
            if not part:
                break
            found += part
        return bytes(found)

    def read1(self, size: int = -1, /) -> bytes:
        """What is at hand, at most `size` bytes; b"" at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        end = len(self._rest) if size < 0 else size
        part, self._rest = self._rest[:end], self._rest[end:]
        return bytes(part)

    def close(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()
        super().close()
