"""From a blob to a `Tree`: finds the TOC, holds it to the manifest's digest, builds the inodes."""

import hashlib
import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lazybuild.errors import IntegrityError
from lazybuild.estargz import footer, toc
from lazybuild.estargz.footer import Layout
from lazybuild.estargz.reader import open_toc
from lazybuild.estargz.tail import PODMAN_CHECKSUM
from lazybuild.oci.ranges import RangeReader
from lazybuild.snapshots.lazyfs.build import TreeBuilder
from lazybuild.snapshots.lazyfs.messages import ELSEWHERE
from lazybuild.snapshots.lazyfs.tocstream import TocStream
from lazybuild.snapshots.lazyfs.tree import Tree

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

NOT_VOUCHED = "its manifest vouches for no TOC"
_BLOCK = 4 << 20
_SMALLEST_TAIL, _LARGEST_TAIL, _TAIL_SHARE = 128 << 10, 2 << 20, 100
_PART = 512 << 10  # of a tail: one connection begins slowly, several at once less so


def open_tree(
    ranges: RangeReader,
    annotations: Mapping[str, str],
    toc_digest: str,
    *,
    unverified: str = "",
    external: bytes = b"",
) -> tuple[Tree | None, str]:
    """The tree of a layer, or None and the reason why the layer can't be read lazily.

    `unverified` is the layer's digest when a TOC that no manifest vouches for shall do; `external`
    is the TOC of a layer that hasn't it itself.
    """
    if not toc_digest:
        return _open_unverified(ranges, unverified) if unverified else (None, NOT_VOUCHED)
    tail = _Tail(ranges)
    found = footer.parse(tail.read_at(ranges.size - tail.least, tail.least), ranges.size)
    if found is not None and found.layout is Layout.EXTERNAL:
        return _open_external(external, toc_digest, ranges.size - footer.EXTERNAL_SIZE)
    if found is None or found.layout is not Layout.ESTARGZ or PODMAN_CHECKSUM in annotations:
        return _open_other(tail, annotations, toc_digest)
    member = io.BufferedReader(_Part(tail, found.toc_offset), _BLOCK)
    stream = TocStream(member)
    builder = TreeBuilder(data_end=found.toc_offset)
    for entries in stream:
        builder.add(entries)
    _check(stream.digest, toc_digest)
    return builder.finish(), ""


def _open_other(
    ranges: RangeReader, annotations: Mapping[str, str], toc_digest: str
) -> tuple[Tree | None, str]:
    found = open_toc(ranges, annotations)
    if found is None:
        return None, "it has no TOC"
    _check(found.digest, toc_digest)
    builder = TreeBuilder(data_end=found.data_end)
    builder.add(toc.parse(found.raw))
    return builder.finish(), ""


def _open_external(raw: bytes, toc_digest: str, data_end: int) -> tuple[Tree | None, str]:
    if not raw:
        return None, ELSEWHERE
    _check("sha256:" + hashlib.sha256(raw).hexdigest(), toc_digest)
    builder = TreeBuilder(data_end=data_end)
    builder.add(toc.parse(raw))
    return builder.finish(), ""


def _open_unverified(ranges: RangeReader, layer: str) -> tuple[Tree | None, str]:
    """By what the blob says of itself, legacy stargz without digests of pieces included."""
    found = open_toc(ranges)
    if found is None:
        return None, "it has no TOC"
    builder = TreeBuilder(data_end=found.data_end, unverified=layer.encode())
    builder.add(toc.parse(found.raw))
    return builder.finish(), ""


def _check(actual: str, expected: str) -> None:
    if actual != expected:
        raise IntegrityError(f"TOC digest is {actual}, the manifest says {expected}")


def _parallel(ranges: RangeReader, start: int, end: int) -> bytes:
    """The bytes `start:end`, each part by a request of its own at the same time."""
    parts = [(place, min(_PART, end - place)) for place in range(start, end, _PART)]
    if len(parts) == 1:
        return ranges.read_at(*parts[0])
    with ThreadPoolExecutor(max(1, len(parts)), "lazyfs-toc") as pool:
        return b"".join(pool.map(lambda part: ranges.read_at(*part), parts))


class _Part(io.RawIOBase):
    """The blob from an offset to its end, as a stream that fetches as it is read."""

    def __init__(self, ranges: RangeReader, offset: int) -> None:
        self._ranges, self._offset = ranges, offset

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer") -> int:
        view = memoryview(buffer)
        size = min(len(view), self._ranges.size - self._offset)
        view[:size] = self._ranges.read_at(self._offset, size) if size else b""
        self._offset += size
        return size


class _Tail:
    """A blob of which the end, where the TOC is hoped for, came with the first request."""

    def __init__(self, ranges: RangeReader) -> None:
        wanted = max(_SMALLEST_TAIL, min(ranges.size // _TAIL_SHARE, _LARGEST_TAIL))
        self.size = ranges.size
        self.least = min(self.size, footer.LONGEST)
        self._ranges = ranges
        self._start = max(0, self.size - wanted)
        self._held = _parallel(ranges, self._start, self.size)

    def read_at(self, offset: int, length: int) -> bytes:
        if offset >= self._start:
            return self._held[offset - self._start :][:length]
        missing = min(length, self._start - offset)
        if offset + length > self._start:
            return self._ranges.read_at(offset, missing) + self._held[: length - missing]
        return self._ranges.read_at(offset, length)
