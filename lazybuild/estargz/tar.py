"""A streaming tar reader that trusts nothing: ustar, PAX, GNU long names, GNU sparse.

Items come in the order of the archive and share its one stream: what an item's `open` gives must
be read before the next item is asked for; after that it is closed. The caller decompresses first
(`streams`). Names, ids, times and sizes are checked or clamped as `names` says, so that this view
and the TOC's agree. What stands behind the end marker is not looked at.
The bytes of headers are `tarheader`'s. One thread for one archive.
"""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from lazybuild.errors import IntegrityError
from lazybuild.estargz import names
from lazybuild.estargz.entry import Entry, Item, Opener
from lazybuild.estargz.sparse import Holes
from lazybuild.estargz.tarheader import Source, interpret, next_header
from lazybuild.estargz.tarwrite import BLOCK

_SKIP = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one archive; sizes in bytes."""

    file_size: int = 1 << 40
    total_size: int = 1 << 42
    entries: int = 10_000_000


_DEFAULT_LIMITS = Limits()


def read(stream: BinaryIO, limits: Limits = _DEFAULT_LIMITS) -> Iterator[Item]:
    """The archive's entries. Raises IntegrityError naming the entry that is wrong."""
    source = Source(stream)
    for entry, stored, holes in _members(source, limits):
        payload = _Payload(source, entry.name, stored)
        yield Item(entry, _opener(payload, holes, entry) if entry.size else None)
        payload.finish()


def index(file: BinaryIO, limits: Limits = _DEFAULT_LIMITS) -> list[Item]:
    """The entries of a plain archive in a file; their items open at any time, in any order.

    Keeps only places: the file must stay open, and what is between headers is not read here.
    """
    return [
        Item(span.entry, _place(file, span) if span.entry.size else None)
        for span in spans(file, limits)
    ]


def spans(file: BinaryIO, limits: Limits = _DEFAULT_LIMITS) -> Iterator["Span"]:
    """Where the bytes of each entry of a plain archive in a file are."""
    source = Source(file)
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    for entry, stored, holes in _members(source, limits):
        start = file.tell()
        if start + stored > end:
            raise IntegrityError(f"archive ends early: {names.shown(entry.name)}")
        file.seek(start + stored + -stored % BLOCK)
        yield Span(entry=entry, offset=start, stored=stored, holes=holes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """`stored` bytes from `offset` on; fewer than the entry has if it has `holes`."""

    entry: Entry
    offset: int
    stored: int
    holes: Holes | None


def _opener(payload: BinaryIO, holes: Holes | None, entry: Entry) -> Opener:
    opened = holes.expand(payload, entry.size) if holes else payload
    return lambda: opened


def _place(file: BinaryIO, span: Span) -> Opener:
    def opened() -> BinaryIO:
        part = _Part(file.fileno(), span.offset, span.stored)
        return span.holes.expand(part, span.entry.size) if span.holes else part

    return opened


def _members(source: Source, limits: Limits) -> Iterator[tuple[Entry, int, Holes | None]]:
    """Each entry with its stored size; the caller moves the source past the payload."""
    total = 0
    for count in range(limits.entries + 1):
        raw = next_header(source)
        if raw is None:
            return
        entry, stored, holes = interpret(source, raw)
        total += entry.size
        if entry.size > limits.file_size or total > limits.total_size or count == limits.entries:
            raise IntegrityError(f"archive is larger than allowed at {names.shown(entry.name)}")
        yield entry, stored, holes


class _Payload(io.BufferedIOBase, BinaryIO):
    """The bytes of the current entry; closed when the reader moves on."""

    def __init__(self, source: Source, name: str, size: int) -> None:
        self._source = source
        self._name = name
        self._left = size
        self._pad = -size % BLOCK

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        if self.closed:
            raise ValueError("payload of an entry that the reader has passed")
        length = self._left if size is None or size < 0 else min(size, self._left)
        if not length:
            return b""
        self._left -= length
        return self._source.exactly(length, self._name)

    read1 = read

    def finish(self) -> None:
        """Skip what was not read."""
        while self._left:
            self.read(_SKIP)
        if self._pad:
            self._source.exactly(self._pad, self._name)
        self.close()


class _Part(io.BufferedIOBase, BinaryIO):
    """A range of a file, read without moving the file's own position."""

    def __init__(self, fd: int, start: int, size: int) -> None:
        self._fd = fd
        self._at = start
        self._end = start + size

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        left = self._end - self._at
        data = os.pread(self._fd, left if size is None or size < 0 else min(size, left), self._at)
        self._at += len(data)
        return data

    read1 = read
