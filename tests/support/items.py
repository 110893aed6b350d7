"""A layer's files as items, read through its TOC.

Items open in any order and from several threads as far as the range reader allows it. Names of
owners, which Go's writer gives only once per id, are filled in. Knows bytes only.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

from lazybuild.estargz import names
from lazybuild.estargz.entry import Entry, Item
from lazybuild.estargz.reader import decode_chunk
from lazybuild.estargz.toc import Chunk, Toc, TocEntry, to_entry
from lazybuild.oci.ranges import RangeReader

_AHEAD = 4 << 20


def layer_items(ranges: RangeReader, toc: Toc) -> list[Item]:
    """Every entry but landmarks, in blob order."""
    source = _Ahead(ranges, toc.data_end)
    return [
        Item(entry, _opener(source, toc, record) if entry.size else None)
        for record, entry in _entries(toc)
    ]


def _entries(toc: Toc) -> Iterator[tuple[TocEntry, Entry]]:
    users: dict[int, str] = {}
    groups: dict[int, str] = {}
    for record, path in zip(toc.entries, toc.paths, strict=True):
        entry = to_entry(record, path)
        users[entry.uid] = uname = entry.uname or users.get(entry.uid, "")
        groups[entry.gid] = gname = entry.gname or groups.get(entry.gid, "")
        if (uname, gname) != (entry.uname, entry.gname):
            entry = replace(entry, uname=uname, gname=gname)
        if path not in names.OWN_NAMES:
            yield record, entry


def _opener(source: "_Ahead", toc: Toc, record: TocEntry) -> Callable[[], BinaryIO]:
    return lambda: _File(source, toc.chunks(record))


class _File(io.BufferedIOBase, BinaryIO):
    """Verified bytes of a file, a piece at a time."""

    def __init__(self, source: "_Ahead", chunks: Sequence[Chunk]) -> None:
        self._source = source
        self._chunks = iter(chunks)
        self._piece = b""
        self._at = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return b"".join(iter(lambda: self._part(_AHEAD), b""))
        part = self._part(size)
        if len(part) == size or not part:
            return part
        return part + self.read(size - len(part))

    read1 = read

    def _part(self, most: int) -> bytes:
        """Up to `most` bytes out of one piece; a whole piece without a copy."""
        if self._at == len(self._piece):
            chunk = next(self._chunks, None) if most else None
            if chunk is None:
                return b""
            self._piece, self._at = self._source.piece(chunk), 0
        start, self._at = self._at, min(self._at + most, len(self._piece))
        if self._at - start == len(self._piece):
            return self._piece
        return self._piece[start : self._at]


class _Ahead:
    """Reads the blob in blocks, since files are wanted mostly in blob order."""

    def __init__(self, ranges: RangeReader, end: int) -> None:
        self._ranges = ranges
        self._end = end
        self._block = (0, b"")

    def piece(self, chunk: Chunk) -> bytes:
        return decode_chunk(self._at(chunk.offset, chunk.end - chunk.offset), chunk)

    def _at(self, offset: int, length: int) -> memoryview:
        start, data = self._block
        if not start <= offset <= offset + length <= start + len(data):
            start = offset
            size = max(length, min(_AHEAD, self._end - offset))
            data = self._ranges.read_at(offset, size)
            self._block = (start, data)
        return memoryview(data)[offset - start : offset - start + length]
