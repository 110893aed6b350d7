"""Finds the TOC of a blob and reads verified pieces. Knows bytes; no URLs, stores or FUSE.

Nothing is read before the TOC is trusted: `open_toc` gives an `UnverifiedToc`, `read_chunk` wants
a `Chunk`, and only a `Toc` makes those. Functions only, safe in threads.
"""

import hashlib
from collections.abc import Mapping
from io import BytesIO

from lazybuild.errors import IntegrityError
from lazybuild.estargz import footer, names, tarwrite
from lazybuild.estargz.codec import inflate
from lazybuild.estargz.footer import Footer, Layout
from lazybuild.estargz.tail import PODMAN_CHECKSUM, PODMAN_POSITION
from lazybuild.estargz.toc import MAX_TOC, Chunk, Toc, TocEntry
from lazybuild.estargz.validate import UnverifiedToc
from lazybuild.oci.descriptor import TOC_DIGEST
from lazybuild.oci.ranges import RangeReader

__all__ = [
    "UnverifiedToc",
    "decode_chunk",
    "has_external_toc",
    "open_toc",
    "read_chunk",
    "read_file",
]


_SMALLEST_TAIL, _LARGEST_TAIL = 128 << 10, 2 << 20
_TAIL_SHARE = 100
_POSITION_PARTS = 3
_EMPTY_MEMBER = 26


def promised(annotations: Mapping[str, str]) -> str:
    """The digest of the TOC that a manifest vouches for, "" if none; never of two formats."""
    podman, stargz = annotations.get(PODMAN_CHECKSUM, ""), annotations.get(TOC_DIGEST, "")
    if podman and stargz:
        raise IntegrityError("layer claims to be both eStargz and podman's zstd:chunked")
    return podman or stargz


def open_toc(
    ranges: RangeReader, annotations: Mapping[str, str] | None = None
) -> UnverifiedToc | None:
    """The TOC of a blob, or None if it has none. One read, or two if the TOC is long.

    With podman's annotations the TOC is found by them; everything else has a footer.
    """
    notes = annotations or {}
    promised(notes)
    if PODMAN_CHECKSUM in notes:
        return _podman(ranges, notes)
    tail = _Tail(ranges)
    found = footer.parse(tail.last(footer.LONGEST), ranges.size)
    if found is None or found.layout is Layout.EXTERNAL:
        return None
    if found.layout in (Layout.ZSTD, Layout.PODMAN):
        packed = tail.at(found.toc_offset, found.toc_size)
        return _packed(packed, found, notes.get(TOC_DIGEST, ""))
    member = tail.at(found.toc_offset, ranges.size - found.toc_offset)
    raw = _from_tar(member)
    return UnverifiedToc(
        raw=raw,
        covered=raw,
        layout=found.layout,
        data_end=found.toc_offset,
        expected=notes.get(TOC_DIGEST, ""),
    )


def has_external_toc(ranges: RangeReader) -> bool:
    """Whether the footer says that the TOC lives in another image."""
    size = min(ranges.size, footer.LONGEST)
    found = footer.parse(ranges.read_at(ranges.size - size, size), ranges.size)
    return found is not None and found.layout is Layout.EXTERNAL


class _Tail:
    """The end of a blob, read ahead of knowing how much of it is the TOC."""

    def __init__(self, ranges: RangeReader) -> None:
        wanted = max(_SMALLEST_TAIL, min(ranges.size // _TAIL_SHARE, _LARGEST_TAIL))
        size = min(ranges.size, wanted)
        self._ranges = ranges
        self._start = ranges.size - size
        self._data = ranges.read_at(self._start, size) if size else b""

    def last(self, length: int) -> bytes:
        return self._data[-length:]

    def at(self, offset: int, length: int) -> bytes:
        if length > MAX_TOC:
            raise IntegrityError(f"TOC of {length} packed bytes is too large")
        if offset >= self._start:
            return self._data[offset - self._start :][:length]
        missing = min(length, self._start - offset)
        head = self._ranges.read_at(offset, missing)
        return head + self._data[: length - missing]


def _from_tar(member: bytes) -> bytes:
    """JSON out of the gzip member that holds one tar entry."""
    data = inflate(member, MAX_TOC + 3 * tarwrite.BLOCK)
    head, body = data[: tarwrite.BLOCK], data[tarwrite.BLOCK :]
    name = head[:100].rstrip(b"\0")
    try:
        size = int(head[124:136].rstrip(b"\0 "), 8)
    except ValueError as error:
        raise IntegrityError("TOC member has no tar header") from error
    if name != names.TOC_NAME.encode() or not 0 <= size <= len(body):
        raise IntegrityError("TOC member does not hold a TOC")
    return body[:size]


def _packed(packed: bytes, found: Footer, expected: str) -> UnverifiedToc:
    """JSON out of a zstd frame. Podman's digest is of the packed bytes, stargz's of the raw."""
    if found.toc_raw_size > MAX_TOC:
        raise IntegrityError(f"TOC of {found.toc_raw_size} bytes is too large")
    raw = inflate(packed, found.toc_raw_size + 1)
    if len(raw) != found.toc_raw_size:
        raise IntegrityError("TOC is not as long as the footer says")
    return UnverifiedToc(
        raw=raw,
        covered=packed if found.layout is Layout.PODMAN else raw,
        layout=found.layout,
        data_end=found.toc_offset - 8,
        expected=expected,
    )


def _podman(ranges: RangeReader, notes: Mapping[str, str]) -> UnverifiedToc:
    parts = notes.get(PODMAN_POSITION, "").split(":")
    if len(parts) <= _POSITION_PARTS or not all(p.isascii() and p.isdigit() for p in parts):
        raise IntegrityError("zstd:chunked manifest position is malformed")
    offset, packed, raw = (int(part) for part in parts[:_POSITION_PARTS])
    if offset < 8 or offset + packed > ranges.size or packed > MAX_TOC:  # noqa: PLR2004 frame head
        raise IntegrityError("zstd:chunked manifest position is outside of the layer")
    found = Footer(layout=Layout.PODMAN, toc_offset=offset, toc_size=packed, toc_raw_size=raw)
    return _packed(ranges.read_at(offset, packed), found, notes[PODMAN_CHECKSUM])


def read_chunk(ranges: RangeReader, chunk: Chunk) -> bytes:
    """Fetch, inflate and verify one piece."""
    return decode_chunk(ranges.read_at(chunk.offset, chunk.end - chunk.offset), chunk)


def decode_chunk(raw: bytes | memoryview, chunk: Chunk) -> bytes:
    """Inflate and verify a piece from bytes that begin at its offset (more may follow)."""
    data = inflate(raw, chunk.inner_offset + chunk.size)[chunk.inner_offset :]
    if len(data) != chunk.size:
        raise IntegrityError(f"piece at {chunk.offset} holds {len(data)} bytes of {chunk.size}")
    if chunk.digest:
        actual = "sha256:" + hashlib.sha256(data).hexdigest()
        if actual != chunk.digest:
            raise IntegrityError(f"piece at {chunk.offset} is {actual}, TOC says {chunk.digest}")
    return data


def read_file(ranges: RangeReader, toc: Toc, entry: TocEntry) -> BytesIO:
    """A whole small file in memory."""
    return BytesIO(b"".join(read_chunk(ranges, chunk) for chunk in toc.chunks(entry)))
