"""The bytes of an archive, kept until the layer is written: in the archive itself if it is plain,
else in a temporary file. An edge. Decompression happens in this process and is bounded.
"""

import io
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from lazybuild.errors import IntegrityError
from lazybuild.estargz import tar
from lazybuild.estargz.entry import Item
from lazybuild.estargz.streams import Caps, decompress, kind_of
from lazybuild.estargz.tarwrite import BLOCK
from lazybuild.snapshots.draft import Content, FileOf
from lazybuild.snapshots.filehash import sha256_of
from lazybuild.snapshots.tree import Tree

_PIECE = 1 << 20


class _Openable(Protocol):
    def open(self) -> BinaryIO: ...


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of something that can be opened, as content of a file."""

    source: _Openable
    offset: int
    size: int

    def open(self) -> BinaryIO:
        return cast("BinaryIO", _Window(self.source.open(), self))

    def digest(self) -> str:
        return _digest(self)


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of a plain archive, read anew through its header (sparse files)."""

    source: _Openable
    header: int

    def open(self) -> BinaryIO:
        stream = self.source.open()
        stream.seek(self.header)
        item = next(tar.read(stream))
        if item.open is None:
            raise IntegrityError("archive changed while it was read")
        return cast("BinaryIO", _Held(item.open(), stream))

    def digest(self) -> str:
        return _digest(self)


def _digest(content: _Openable) -> str:
    with content.open() as stream:
        return sha256_of(stream)


class Spool(Protocol):
    """What an unpacking needs: the tar stream, and a place for the bytes of each item."""

    @property
    def stream(self) -> BinaryIO: ...

    def keep(self, item: Item) -> Content | None: ...


class _Plain:
    """The archive is a seekable tar: its own bytes are the content."""

    def __init__(self, source: _Openable, stream: BinaryIO) -> None:
        self._source = source
        self.stream = stream
        self._header = 0

    def keep(self, item: Item) -> Content | None:
        start = self.stream.tell()
        header, self._header = self._header, start
        if item.open is None:
            return None
        stored = _drain(item.open(), None, self.stream) - start
        self._header = start + stored + -(start + stored) % BLOCK
        if stored == item.entry.size:
            return Part(self._source, start, stored)
        return _Entry(self._source, header)


class _Nameless:
    """A temporary file without a name; it lives as long as somebody holds this."""

    def __init__(self, directory: Path | None) -> None:
        self.file = cast("BinaryIO", tempfile.TemporaryFile(dir=directory))  # noqa: SIM115 - lives as long as this
        weakref.finalize(self, self.file.close)

    def open(self) -> BinaryIO:
        self.file.flush()
        return open(f"/proc/self/fd/{self.file.fileno()}", "rb")


class _Spooled:
    """The archive is compressed: its files are written one after another to a nameless file."""

    def __init__(self, stream: BinaryIO, kept: _Nameless) -> None:
        self.stream = stream
        self._kept = kept
        self._end = 0

    def keep(self, item: Item) -> Content | None:
        if item.open is None:
            return None
        file = self._kept.file
        start, self._end = self._end, _drain(item.open(), file, file)
        return Part(self._kept, start, self._end - start)


def _drain(payload: BinaryIO, out: BinaryIO | None, told: BinaryIO) -> int:
    """Read a payload to its end, into `out` if there is one; where `told` then stands."""
    while data := payload.read(_PIECE):
        if out is not None:
            out.write(data)
    return told.tell()


@contextmanager
def opened(tree: Tree, path: str, *, caps: Caps, spool: Path | None) -> Iterator[Spool]:
    """The archive `path` for one reading; `spool` is the directory for what is unpacked."""
    with tree.open(path) as packed:
        if not kind_of(packed):
            yield _Plain(FileOf(tree, path), packed)
            return
        yield _Spooled(decompress(packed, caps), _Nameless(spool))


def probe(tree: Tree, path: str) -> bool:
    """Whether a file, decompressed if need be, begins with a tar header."""
    with tree.open(path) as packed:
        try:
            block = _first(decompress(packed), BLOCK)
        except IntegrityError:
            return False
    return len(block) == BLOCK and _sums_up(block)


def _first(stream: BinaryIO, length: int) -> bytes:
    data = b""
    while len(data) < length and (piece := stream.read(length - len(data))):
        data += piece
    return data


def _sums_up(block: bytes) -> bool:
    """The checksum of a tar header (POSIX ustar): the field itself counts as blanks."""
    digits = block[148:156].strip(b" \0").split(b"\0")[0]
    if not digits or any(digit not in b"01234567" for digit in digits):
        return False
    return int(digits, 8) == sum(block) - sum(block[148:156]) + 8 * ord(" ")


class _Held(io.RawIOBase):
    """A payload, and the archive it is read from, which closes with it."""

    def __init__(self, payload: BinaryIO, archive: BinaryIO) -> None:
        self._payload = payload
        self._archive = archive

    def read(self, size: int | None = -1) -> bytes:
        return self._payload.read(-1 if size is None else size)

    def close(self) -> None:
        self._archive.close()
        super().close()


class _Window(io.RawIOBase):
    def __init__(self, stream: BinaryIO, part: Part) -> None:
        self._stream = stream
        self._stream.seek(part.offset)
        self._left = part.size

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        data = self._stream.read(wanted)
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._stream.close()
        super().close()
