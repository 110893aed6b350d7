"""A download as a file to read from, so that it can be unpacked, and kept on the way."""

import io
from collections.abc import Iterator
from typing import BinaryIO

from lazybuild.oci.digest import Digest
from lazybuild.store.blobs import Ingest


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


class Kept(io.BufferedIOBase, BinaryIO):
    """A blob that is put into the store while it is read; one not read to its end is dropped."""

    def __init__(self, stream: BinaryIO, ingest: Ingest, digest: Digest) -> None:
        self._stream = stream
        self._ingest: Ingest | None = ingest
        self._digest = digest

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        data = self._stream.read(-1 if size is None else size)
        if self._ingest is not None and (data or size):
            self._keep(self._ingest, data, end=not data or size is None or size < 0)
        return data

    read1 = read

    def close(self) -> None:
        if self._ingest is not None:
            self._ingest.__exit__()
        self._stream.close()
        super().close()

    def _keep(self, ingest: Ingest, data: bytes, *, end: bool) -> None:
        ingest.write(data)
        if end:
            ingest.commit(self._digest)
            ingest.__exit__()
            self._ingest = None
