"""Chunks of lazy layers: found, fetched, checked, kept. The engine between the tree and the wire.

Owns single flight, the disk cache's use, readahead, the prefetch queue and the figures. Must not
know FUSE or HTTP: bytes come from `RangeReader`s, verified chunks are kept in a `ChunkCache`.
No byte leaves this module that was not checked against the digest in its TOC, except those of
layers that the user has chosen to read unverified, which no cache keeps. Everything here may be
called from many threads; calls that fetch block.
"""

import hashlib
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field

from lazybuild.errors import IntegrityError, LazybuildError
from lazybuild.estargz.codec import inflate
from lazybuild.linux.workers import Workers
from lazybuild.snapshots.lazyfs import plan
from lazybuild.snapshots.lazyfs.flight import Gate
from lazybuild.snapshots.lazyfs.layer import ChunkCache, LazyLayer, Why
from lazybuild.snapshots.lazyfs.memory import Memory
from lazybuild.snapshots.lazyfs.plan import Span
from lazybuild.snapshots.lazyfs.tree import Chunks

LARGE = 1 << 20
AHEAD = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """One request under way: the chunks of `span` are ours to fetch, others wait for `landing`."""

    layer: LazyLayer
    span: Span
    why: Why
    landing: dict[int, Future[bytes]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """The bytes of a request, `held` the lock of their range."""

    raw: memoryview
    span: Span
    held: ExitStack


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
        self._loader = Workers(1, "lazyfs-load")
        self._loaders = Workers(AHEAD, "lazyfs-ahead")
        self._ahead = set[bytes]()
        self._loading = [threading.Lock() for _ in range(16)]

    # what is here already

    def local(self, layer: LazyLayer, chunk: int) -> bytes | None:
        """The chunk's plain bytes if no request is needed for them."""
        key = layer.tree.chunks.digest_of(chunk)
        data = self._memory.get(key)
        if data is None and layer.cached:
            if not layer.tree.chunks.position[chunk]:
                self.load_ahead(layer, chunk, 1)
            data = self._load_once(layer, chunk, key)
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

    def load_ahead(self, layer: LazyLayer, chunk: int, count: int = AHEAD) -> None:
        """Have what follows in a long file checked before it is asked for, if it is here."""
        for following in _following(layer.tree.chunks, chunk, count) if layer.cached else ():
            key = layer.tree.chunks.digest_of(following)
            if key not in self._ahead and key not in self._memory:
                self._ahead.add(key)
                self._loaders.do(self._load_beside, layer, following, key)

    def _load_beside(self, layer: LazyLayer, chunk: int, key: bytes) -> None:
        try:
            self._load_once(layer, chunk, key)
        finally:
            self._ahead.discard(key)

    def _load_once(self, layer: LazyLayer, chunk: int, key: bytes) -> bytes | None:
        """From the disk cache; two threads that want the same chunk load it once."""
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
            other = self._flights.get(key)
            if other is not None:
                return other.result()
            chunks = layer.tree.chunks
            span = Span(chunks.offset[chunk], chunks.end[chunk], (chunk,))
            flight = self._claim(layer, span, Why.SPECULATION, need=chunk)
            if flight is not None:
                self._fetch(flight)
                return flight.landing[chunk].result()
        return data

    def _demand(self, layer: LazyLayer, chunk: int) -> bytes | None:
        """The chunk by someone's fetch or, when that fails, our own; None means: look again."""
        other = self._flights.get(layer.tree.chunks.digest_of(chunk))
        if other is not None:
            try:
                return other.result()
            except LazybuildError:
                pass  # it was someone else's attempt, perhaps for a neighbour; ours comes now
        layer.present[chunk] = 0
        flight = self._claim(layer, self._ahead_of(layer, chunk), Why.AHEAD, need=chunk)
        if flight is None:
            return None
        self._fetch(flight, wanted=chunk)
        return flight.landing[chunk].result()

    def _ahead_of(self, layer: LazyLayer, chunk: int) -> Span:
        return plan.readahead(
            layer.order,
            layer.tree.chunks,
            chunk,
            window=layer.window(),
            missing=lambda other: self.missing(layer, other),
        )

    def fetch(self, layer: LazyLayer, span: Span, why: Why) -> None:
        """Have these chunks in the cache. Raises what the request raises."""
        wanted = [chunk for chunk in span.chunks if self.missing(layer, chunk)]
        for part in plan.coalesce(layer.tree.chunks, wanted, span_max=span.end - span.start):
            flight = self._claim(layer, part, why)
            if flight is not None:
                self._fetch(flight)

    # flights

    def _claim(
        self, layer: LazyLayer, span: Span, why: Why, *, need: int | None = None
    ) -> Flight | None:
        """Those chunks of the span that nobody fetches become ours; none if `need` is not free."""
        landing: dict[int, Future[bytes]] = {}
        chunks = layer.tree.chunks
        with self._lock:
            if need is not None and chunks.digest_of(need) in self._flights:
                return None
            for chunk in span.chunks:
                key = chunks.digest_of(chunk)
                if key not in self._flights:
                    landing[chunk] = self._flights[key] = Future()
        if not landing:
            return None
        start = min(chunks.offset[chunk] for chunk in landing)
        ours = Span(start, max(chunks.end[chunk] for chunk in landing), tuple(landing))
        return Flight(layer=layer, span=ours, why=why, landing=landing)

    def _land(self, flight: Flight, chunk: int, data: bytes | Exception) -> None:
        with self._lock:
            self._flights.pop(flight.layer.tree.chunks.digest_of(chunk), None)
        if isinstance(data, bytes):
            flight.landing[chunk].set_result(data)
        else:
            flight.landing[chunk].set_exception(data)

    def _fetch(self, flight: Flight, *, wanted: int | None = None) -> None:
        """One request for what is ours. Its failure is raised where nobody waits for a chunk."""
        held = ExitStack()  # other processes wait until all is kept, not only fetched
        try:
            with self.gate.slot(urgent=wanted is not None):
                span = self._lock_and_look(flight, held)
                why = flight.why if wanted is None else Why.ASKED
                raw = memoryview(self._request(flight.layer, span, why)) if span.chunks else None
        except Exception as error:
            held.close()
            for chunk, future in flight.landing.items():
                if not future.done():
                    self._land(flight, chunk, error)
            if wanted is None:
                raise
            return
        if raw is None:
            held.close()
            return
        self._take_in_order(flight, Arrived(raw=raw, span=span, held=held), wanted)

    def _lock_and_look(self, flight: Flight, held: ExitStack) -> Span:
        """What of the flight is still to be fetched once no other process is at it."""
        layer, span = flight.layer, flight.span
        held.enter_context(layer.locks.held(span.start, span.end))
        if not layer.cached:
            return span
        left = [chunk for chunk in span.chunks if not self._landed_elsewhere(flight, chunk)]
        if len(left) == len(span.chunks):
            return span
        chunks = layer.tree.chunks
        start = min((chunks.offset[chunk] for chunk in left), default=0)
        end = max((chunks.end[chunk] for chunk in left), default=0)
        return Span(start, end, tuple(left))

    def _landed_elsewhere(self, flight: Flight, chunk: int) -> bool:
        layer = flight.layer
        if not self._cache.has(layer.chunk_digest(chunk)):
            return False
        data = self._load(layer, chunk, layer.tree.chunks.digest_of(chunk))
        if data is not None:
            self._land(flight, chunk, data)
        return data is not None

    def _take_in_order(self, flight: Flight, arrived: Arrived, wanted: int | None) -> None:
        """The wanted chunk first, and whoever waits for it shall not wait for the others."""
        others = [chunk for chunk in arrived.span.chunks if chunk != wanted]
        if wanted is None:
            self._take(flight, arrived, others, flight.why)
            arrived.held.close()
            return
        if wanted in arrived.span.chunks:
            self._take(flight, arrived, (wanted,), Why.ASKED)
        if others:
            self._loader.do(self._take_rest, flight, arrived, others)
        else:
            arrived.held.close()

    def _take_rest(self, flight: Flight, arrived: Arrived, chunks: Iterable[int]) -> None:
        with arrived.held:
            self._take(flight, arrived, chunks, flight.why)

    def _take(self, flight: Flight, arrived: Arrived, chunks: Iterable[int], why: Why) -> None:
        table, start = flight.layer.tree.chunks, arrived.span.start
        for chunk in chunks:
            self._note_fetched(flight.layer, chunk, why)
            part = arrived.raw[table.offset[chunk] - start : table.end[chunk] - start]
            self._accept(flight, chunk, part)

    def _request(
        self, layer: LazyLayer, span: Span, why: Why, *, tried: int | None = None
    ) -> bytes:
        length, begin = span.end - span.start, time.time()
        if tried is None:
            raw = layer.source.read_at(span.start, length)
        else:
            raw = layer.source.reread_at(span.start, length, tried=tried)
        if layer.cached:
            self._note_request(layer, length, again=tried is not None)
            layer.log.add(begin, span.start, length, why.name.lower())
        if len(raw) != length:
            raise IntegrityError(f"{len(raw)} bytes of {length} came from layer {layer.digest}")
        return raw

    def _accept(self, flight: Flight, chunk: int, raw: memoryview) -> None:
        layer = flight.layer
        try:
            data = _decode(layer, chunk, raw) or self._again(layer, chunk)
            self._keep(layer, chunk, data)
        except Exception as error:  # noqa: BLE001  goes to whoever waits for this chunk
            self._land(flight, chunk, error)
        else:
            self._land(flight, chunk, data)

    def _again(self, layer: LazyLayer, chunk: int) -> bytes:
        """A corrupt chunk: once more from the same place, then from each other one."""
        chunks = layer.tree.chunks
        span = Span(chunks.offset[chunk], chunks.end[chunk], (chunk,))
        trouble: LazybuildError | None = None
        for tried in range(max(1, len(layer.source.hosts))):
            try:
                raw = memoryview(self._request(layer, span, Why.ASKED, tried=tried))
                data = _decode(layer, chunk, raw)
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
        if layer.cached and chunk not in layer.tree.chunks.unverified:
            self._cache.put(layer.chunk_digest(chunk), data)
            layer.present[chunk] = 1

    # figures

    def _note_request(self, layer: LazyLayer, length: int, *, again: bool) -> None:
        with self._lock:
            layer.figures.requests += 1
            layer.figures.bytes_fetched += length
            layer.figures.refetched += again

    def _note_read(self, layer: LazyLayer, chunk: int) -> None:
        with self._lock:
            if layer.read[chunk]:
                return
            layer.read[chunk] = 1
            layer.read_order.append(chunk)
            layer.figures.chunks_read += 1
            layer.figures.bytes_read += layer.packed(chunk)
            layer.figures.used_of[Why(layer.why[chunk])] += layer.packed(chunk)

    def _note_fetched(self, layer: LazyLayer, chunk: int, why: Why) -> None:
        with self._lock:
            layer.figures.chunks_fetched += 1
            layer.figures.fetched_for[why] += layer.packed(chunk)
            layer.why[chunk] = why


def _following(chunks: Chunks, chunk: int, count: int) -> range:
    """Up to `count` chunks of the same file behind a large one."""
    start, size = chunks.position[chunk], chunks.size[chunk]
    if size < LARGE:
        return range(0)
    end, limit = chunk + 1, min(chunk + count + 1, len(chunks))
    while end < limit and chunks.position[end] == start + size * (end - chunk):
        end += 1
    return range(chunk + 1, end)


def _decode(layer: LazyLayer, chunk: int, raw: memoryview) -> bytes | None:
    """The plain bytes of the chunk, None when they are not what the TOC says."""
    chunks = layer.tree.chunks
    inner, size = chunks.inner[chunk], chunks.size[chunk]
    try:
        data = inflate(raw, inner + size)
    except IntegrityError:
        return None
    piece = data[inner : inner + size] if inner else data
    good = len(piece) == size and (
        chunk in chunks.unverified or hashlib.sha256(piece).digest() == chunks.digest_of(chunk)
    )
    return piece if good else None
