"""A lazy layer as the reader sees it: its tree, where its blob is, what has become of its chunks.

Owns the figures and the budget for guesses; asks for nothing itself. The counters are changed by
`reader` alone, under its lock.
"""

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from lazybuild.oci.digest import Digest
from lazybuild.oci.ranges import RangeReader
from lazybuild.snapshots.lazyfs.blobmap import Part
from lazybuild.snapshots.lazyfs.fetchlog import FetchLog
from lazybuild.snapshots.lazyfs.flight import NoLocks, RangeLocks
from lazybuild.snapshots.lazyfs.plan import BlobOrder
from lazybuild.snapshots.lazyfs.tree import Tree

READAHEAD, READAHEAD_MAX = 64 << 10, 512 << 10
GUESS_SHARE, GUESS_START = 0.08, 768 << 10
"""Bytes that guesses may waste: a share of those that were of use, and something to begin with."""


class ChunkCache(Protocol):
    """Verified chunks by digest, shared by all layers and all builds."""

    def has(self, digest: Digest) -> bool: ...
    def get(self, digest: Digest, size: int) -> bytes | None: ...
    def put(self, digest: Digest, data: bytes) -> None: ...


class Source(RangeReader, Protocol):
    """Where a layer's blob is: `registry.ranges.BlobRanges`, or a file."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of the places that have it, the preferred one first."""
        ...

    def reread_at(self, offset: int, length: int, *, tried: int = 0) -> bytes:
        """Once more, past all caches, from the `tried`-th of those places."""
        ...


class Why(IntEnum):
    """What a chunk was fetched for, the most urgent first."""

    LOCAL = 0  # it was not
    ASKED = 1
    AHEAD = 2
    PREFETCH = 3
    EXPECTED = 4  # the command of the step at hand names it, or what it names needs it
    SPECULATION = 5
    LATER = 6  # as expected, for a step that has not begun
    FILL = 7


_GUESSES = (Why.AHEAD, Why.SPECULATION)
_TOUCHED = re.compile(rb"[^\0]")


@dataclass(slots=True, kw_only=True)
class Figures:
    """What one layer has cost and given so far. Bytes of the blob unless said otherwise."""

    requests: int = 0
    bytes_fetched: int = 0
    chunks_fetched: int = 0
    chunks_read: int = 0
    bytes_read: int = 0  # compressed size of the distinct chunks that were read
    refetched: int = 0
    fetched_for: dict[Why, int] = field(default_factory=lambda: dict.fromkeys(Why, 0))
    used_of: dict[Why, int] = field(default_factory=lambda: dict.fromkeys(Why, 0))


@dataclass(slots=True, kw_only=True, eq=False)
class LazyLayer:
    """A layer that can be read."""

    digest: Digest
    tree: Tree
    source: Source
    locks: RangeLocks = field(default_factory=NoLocks)
    cached: bool = True  # a local blob is its own cache
    order: BlobOrder = field(init=False)
    figures: Figures = field(default_factory=Figures)
    log: FetchLog = field(default_factory=FetchLog)
    read_order: "array[int]" = field(default_factory=lambda: array("I"))
    filling: bool = False  # all that is missing has been queued
    read: bytearray = field(init=False)
    why: bytearray = field(init=False)
    present: bytearray = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.tree.chunks)
        self.order = BlobOrder(self.tree.chunks)
        self.read, self.why, self.present = bytearray(count), bytearray(count), bytearray(count)

    def to_guess(self) -> int:
        """How many bytes may still be fetched on a guess; guesses that were right cost nothing."""
        if not self.cached:
            return 0  # nothing is far away
        f = self.figures
        wasted = sum(f.fetched_for[why] - f.used_of[why] for why in _GUESSES)
        return max(0, GUESS_START + int(f.bytes_read * GUESS_SHARE) - wasted)

    def window(self) -> int:
        """How far to read ahead: the further, the more it has been of use."""
        useful = 4 * self.figures.used_of[Why.AHEAD]
        return min(READAHEAD + useful, READAHEAD_MAX, self.to_guess() // 2)

    def chunk_digest(self, chunk: int) -> Digest:
        return Digest("sha256:" + self.tree.chunks.digest_of(chunk).hex())

    def packed(self, chunk: int) -> int:
        return self.tree.chunks.end[chunk] - self.tree.chunks.offset[chunk]

    def parts(self) -> Iterator[Part]:
        """What of the blob was fetched or read; chunks that share a member count once."""
        chunks, found = self.tree.chunks, dict[int, tuple[int, str]]()
        for chunk in self._touched():
            state, offset = self._state(chunk), chunks.offset[chunk]
            if state != "spare" or offset not in found:
                found[offset] = chunks.end[chunk], state
        return (Part(offset, end, state) for offset, (end, state) in found.items())

    def _touched(self) -> set[int]:
        fetched = {match.start() for match in _TOUCHED.finditer(self.why)}
        return fetched.union(self.read_order.tolist())

    def _state(self, chunk: int) -> str:
        """The field of a `blobmap.Cell` that its bytes count for."""
        why = self.why[chunk]
        if why == Why.ASKED:
            return "asked"
        if not self.read[chunk]:
            return "spare"
        return "kept" if why == Why.LOCAL else "ahead"
