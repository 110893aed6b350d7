"""Chunks of lazy layers: found, fetched, checked, kept. The engine between the tree and the wire.

Owns single flight, the disk cache's use, readahead, the prefetch queue and the figures. Must not
know FUSE or HTTP: bytes come from `RangeReader`s, verified chunks are kept in a `ChunkCache`.
No byte leaves this module that was not checked against the digest in its TOC. Everything here may
be called from many threads; calls that fetch block.
"""

import hashlib
import threading
from array import array
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from lazybuild.errors import IntegrityError, LazybuildError
from lazybuild.estargz.codec import inflate
from lazybuild.oci.digest import Digest
from lazybuild.oci.ranges import RangeReader
from lazybuild.snapshots.lazyfs import plan
from lazybuild.snapshots.lazyfs.flight import Gate, NoLocks, RangeLocks
from lazybuild.snapshots.lazyfs.memory import Memory
from lazybuild.snapshots.lazyfs.plan import BlobOrder, Span
from lazybuild.snapshots.lazyfs.tree import Tree

LARGE = 1 << 20
READAHEAD_START, READAHEAD_MIN, READAHEAD_MAX = 256 << 10, 32 << 10, 2 << 20


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

    ASKED = 0
    AHEAD = 1
    PREFETCH = 2
    SPECULATION = 3
    FILL = 4


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
    window: int = READAHEAD_START
    read_order: "array[int]" = field(default_factory=lambda: array("I"))
    filling: bool = False  # all that is missing has been queued
    read: bytearray = field(init=False)
    why: bytearray = field(init=False)
    present: bytearray = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.tree.chunks)
        self.window = READAHEAD_START if self.cached else 0
        self.order = BlobOrder(self.tree.chunks)
        self.read, self.why, self.present = bytearray(count), bytearray(count), bytearray(count)

    def chunk_digest(self, chunk: int) -> Digest:
        return Digest("sha256:" + self.tree.chunks.digest_of(chunk).hex())

    def packed(self, chunk: int) -> int:
        return self.tree.chunks.end[chunk] - self.tree.chunks.offset[chunk]


class ChunkReader:
    """Reads chunks of any number of layers through one cache and one set of connections."""

    def __init__(
        self, cache: ChunkCache, *, gate: Gate | None = None, memory: Memory | None = None
    ) -> None:
        self.gate = gate or Gate()
        self._cache = cache
        self._memory = memory or Memory()
        self._lock = threading.Lock()
        self._flights: dict[bytes, Future[bytes]] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="lazyfs-load")
        self._loading = [threading.Lock() for _ in range(16)]

    # what is here already

    def local(self, layer: LazyLayer, chunk: int) -> bytes | None:
        """The chunk's plain bytes if no request is needed for them."""
        key = layer.tree.chunks.digest_of(chunk)
        data = self._memory.get(key)
        if data is None and layer.cached:
            data = self._load_once(layer, chunk, key)
            if data is not None and _continues(layer, chunk):
                self._pool.submit(self._load_once, layer, chunk + 1, None)
        if data is not None and not layer.read[chunk]:
            self._note_read(layer, chunk)
        return data

    def missing(self, layer: LazyLayer, chunk: int) -> bool:
        """Whether the chunk would have to be fetched, as far as is known without reading it."""
        key = layer.tree.chunks.digest_of(chunk)
        if layer.present[chunk] or key in self._flights or key in self._memory:
            return False
        if layer.cached and self._cache.has(layer.chunk_digest(chunk)):
            layer.present[chunk] = 1
            return False
        return True

    def _load_once(self, layer: LazyLayer, chunk: int, key: bytes | None) -> bytes | None:
        """From the disk cache; two threads that want the same chunk load it once."""
        key = key or layer.tree.chunks.digest_of(chunk)
        with self._loading[key[0] & 15]:
            return self._memory.get(key) or self._load(layer, chunk, key)

    def _load(self, layer: LazyLayer, chunk: int, key: bytes) -> bytes | None:
        size = layer.tree.chunks.size[chunk]
        data = self._cache.get(layer.chunk_digest(chunk), size) if layer.cached else None
        if data is None or len(data) != size:
            layer.present[chunk] = 0
            return None
        layer.present[chunk] = 1
        self._memory.put(key, data)
        return data

    # reading

    def read(self, layer: LazyLayer, chunk: int) -> bytes:
        """The chunk's plain bytes, fetched with what follows it if they are not here."""
        data = self.local(layer, chunk)
        while data is None:
            data = self._demand(layer, chunk)
        if not layer.read[chunk]:
            self._note_read(layer, chunk)
        return data

    def peek(self, layer: LazyLayer, chunk: int) -> bytes:
        """As `read`, for our own purposes: it does not count as a read, nor is it urgent."""
        key = layer.tree.chunks.digest_of(chunk)
        while (data := self._memory.get(key) or self._load(layer, chunk, key)) is None:
            flight = self._flights.get(key)
            if flight is not None:
                return flight.result()
            chunks = layer.tree.chunks
            span, mine = self._claim(
                layer, Span(chunks.offset[chunk], chunks.end[chunk], (chunk,)), need=chunk
            )
            if mine:
                self._fetch(layer, span, mine, why=Why.SPECULATION)
                return mine[chunk].result()
        return data

    def _demand(self, layer: LazyLayer, chunk: int) -> bytes | None:
        """The chunk by someone's fetch or, when that fails, our own; None means: look again."""
        flight = self._flights.get(layer.tree.chunks.digest_of(chunk))
        if flight is not None:
            try:
                return flight.result()
            except LazybuildError:
                pass  # it was someone else's attempt, perhaps for a neighbour; ours comes now
        layer.present[chunk] = 0
        span, mine = self._claim(layer, self._ahead_of(layer, chunk), need=chunk)
        if not mine:
            return None
        self._fetch(layer, span, mine, why=Why.AHEAD, wanted=chunk)
        return mine[chunk].result()

    def _ahead_of(self, layer: LazyLayer, chunk: int) -> Span:
        return plan.readahead(
            layer.order,
            layer.tree.chunks,
            chunk,
            window=layer.window,
            missing=lambda other: self.missing(layer, other),
        )

    def fetch(self, layer: LazyLayer, span: Span, why: Why) -> None:
        """Have these chunks in the cache. Raises what the request raises."""
        wanted = [chunk for chunk in span.chunks if self.missing(layer, chunk)]
        for part in plan.coalesce(layer.tree.chunks, wanted, span_max=span.end - span.start):
            claimed, mine = self._claim(layer, part)
            if mine:
                self._fetch(layer, claimed, mine, why=why)

    # flights

    def _claim(
        self, layer: LazyLayer, span: Span, need: int | None = None
    ) -> tuple[Span, dict[int, Future[bytes]]]:
        """Those chunks of the span that nobody fetches become ours; none if `need` is not free."""
        mine: dict[int, Future[bytes]] = {}
        chunks = layer.tree.chunks
        with self._lock:
            if need is not None and chunks.digest_of(need) in self._flights:
                return Span(0, 0, ()), mine
            for chunk in span.chunks:
                key = chunks.digest_of(chunk)
                if key not in self._flights:
                    mine[chunk] = self._flights[key] = Future()
        if not mine:
            return Span(0, 0, ()), mine
        start = min(chunks.offset[chunk] for chunk in mine)
        return Span(start, max(chunks.end[chunk] for chunk in mine), tuple(mine)), mine

    def _land(
        self, layer: LazyLayer, chunk: int, flight: Future[bytes], data: bytes | Exception
    ) -> None:
        with self._lock:
            self._flights.pop(layer.tree.chunks.digest_of(chunk), None)
        if isinstance(data, bytes):
            flight.set_result(data)
        else:
            flight.set_exception(data)

    def _fetch(
        self,
        layer: LazyLayer,
        span: Span,
        mine: dict[int, Future[bytes]],
        *,
        why: Why,
        wanted: int | None = None,
    ) -> None:
        urgent = wanted is not None
        try:
            with self.gate.slot(urgent=urgent), layer.locks.held(span.start, span.end) as waited:
                if waited and all(self._landed_elsewhere(layer, c, mine) for c in span.chunks):
                    return
                raw = memoryview(self._request(layer, span))
        except Exception as error:
            for chunk, flight in mine.items():
                if not flight.done():
                    self._land(layer, chunk, flight, error)
            if not urgent:
                raise
            return
        for chunk in sorted(span.chunks, key=lambda c: c != wanted):
            if not mine[chunk].done():
                self._accept(layer, chunk, raw[_slice(layer, chunk, span)], mine[chunk])
                self._note_fetched(layer, chunk, Why.ASKED if chunk == wanted else why)

    def _landed_elsewhere(
        self, layer: LazyLayer, chunk: int, mine: dict[int, Future[bytes]]
    ) -> bool:
        data = self._load(layer, chunk, layer.tree.chunks.digest_of(chunk))
        if data is not None:
            self._land(layer, chunk, mine[chunk], data)
        return data is not None

    def _request(self, layer: LazyLayer, span: Span, *, tried: int | None = None) -> bytes:
        length = span.end - span.start
        if tried is None:
            raw = layer.source.read_at(span.start, length)
        else:
            raw = layer.source.reread_at(span.start, length, tried=tried)
        with self._lock:
            layer.figures.requests += 1
            layer.figures.bytes_fetched += length
            layer.figures.refetched += tried is not None
        if len(raw) != length:
            raise IntegrityError(f"{len(raw)} bytes of {length} came from layer {layer.digest}")
        return raw

    def _accept(self, layer: LazyLayer, chunk: int, raw: memoryview, flight: Future[bytes]) -> None:
        try:
            data = _decode(layer, chunk, raw) or self._again(layer, chunk)
            self._keep(layer, chunk, data)
        except Exception as error:  # noqa: BLE001  goes to whoever waits for this chunk
            self._land(layer, chunk, flight, error)
        else:
            self._land(layer, chunk, flight, data)

    def _again(self, layer: LazyLayer, chunk: int) -> bytes:
        """A corrupt chunk: once more from the same place, then from each other one."""
        chunks = layer.tree.chunks
        span = Span(chunks.offset[chunk], chunks.end[chunk], (chunk,))
        trouble: LazybuildError | None = None
        for tried in range(max(1, len(layer.source.hosts))):
            try:
                data = _decode(layer, chunk, memoryview(self._request(layer, span, tried=tried)))
            except LazybuildError as error:
                trouble = error
                continue
            if data is not None:
                return data
        raise IntegrityError(
            f"chunk {layer.chunk_digest(chunk)} at {span.start} of layer {layer.digest} is corrupt"
            f" at {', '.join(layer.source.hosts)}, fetched again without better luck"
        ) from trouble

    def _keep(self, layer: LazyLayer, chunk: int, data: bytes) -> None:
        self._memory.put(layer.tree.chunks.digest_of(chunk), data)
        if layer.cached:
            self._cache.put(layer.chunk_digest(chunk), data)
            layer.present[chunk] = 1

    # figures

    def _note_read(self, layer: LazyLayer, chunk: int) -> None:
        with self._lock:
            if layer.read[chunk]:
                return
            layer.read[chunk] = 1
            layer.read_order.append(chunk)
            layer.figures.chunks_read += 1
            layer.figures.bytes_read += layer.packed(chunk)
            why = Why(layer.why[chunk])
            layer.figures.used_of[why] += layer.packed(chunk)
            if why is Why.AHEAD:
                layer.window = min(READAHEAD_MAX, layer.window + 2 * layer.packed(chunk))

    def _note_fetched(self, layer: LazyLayer, chunk: int, why: Why) -> None:
        with self._lock:
            layer.figures.chunks_fetched += 1
            layer.figures.fetched_for[why] += layer.packed(chunk)
            layer.why[chunk] = why
            if why is Why.AHEAD:
                layer.window = max(READAHEAD_MIN, layer.window - layer.packed(chunk) // 2)


def _continues(layer: LazyLayer, chunk: int) -> bool:
    """Whether a long file is being read from one large chunk to the next."""
    chunks = layer.tree.chunks
    if chunks.size[chunk] < LARGE or chunk + 1 == len(chunks):
        return False
    start, size = chunks.position[chunk], chunks.size[chunk]
    return chunks.position[chunk + 1] == start + size and (not start or bool(layer.read[chunk - 1]))


def _slice(layer: LazyLayer, chunk: int, span: Span) -> slice:
    chunks = layer.tree.chunks
    return slice(chunks.offset[chunk] - span.start, chunks.end[chunk] - span.start)


def _decode(layer: LazyLayer, chunk: int, raw: memoryview) -> bytes | None:
    """The plain bytes of the chunk, None when they are not what the TOC says."""
    chunks = layer.tree.chunks
    inner, size = chunks.inner[chunk], chunks.size[chunk]
    try:
        data = inflate(raw, inner + size)
    except IntegrityError:
        return None
    piece = data[inner : inner + size] if inner else data
    good = hashlib.sha256(piece).digest() == chunks.digest_of(chunk)
    return piece if good and len(piece) == size else None
