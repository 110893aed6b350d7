"""The queue of what should be fetched before it is asked for, and the threads that empty it.

The order is by `Why`, then what is wanted now before what is for later, then first come, first
served. A read that misses does not stand in this
queue: it fetches for itself and goes before everything here (see `flight.Gate`).
"""

import heapq
import itertools
import threading
from collections.abc import Iterable

from lazybuild.errors import LazybuildError
from lazybuild.linux.shortage import begun
from lazybuild.snapshots.lazyfs import plan
from lazybuild.snapshots.lazyfs.layer import LazyLayer, Why
from lazybuild.snapshots.lazyfs.plan import SPAN_MAX, Span
from lazybuild.snapshots.lazyfs.reader import ChunkReader

WORKERS = 8
FILL_SPAN = 4 << 20


class Prefetcher:
    """`want` chunks of layers; threads start with the first of them and end with `close`."""

    def __init__(self, reader: ChunkReader) -> None:
        self._reader = reader
        self._condition = threading.Condition()
        self._queue: list[tuple[Why, bool, int, LazyLayer, Span]] = []
        self._tickets = itertools.count()
        self._threads: list[threading.Thread] = []
        self._awaited = self._failed = 0
        self._closed = False

    def want(
        self, layer: LazyLayer, chunks: Iterable[int], why: Why, *, later: bool = False
    ) -> int:
        """Queue the chunks that are not here; returns how many bytes of the blob that are."""
        missing = [c for c in layer.order.sort(chunks) if self._reader.missing(layer, c)]
        size = FILL_SPAN if why is Why.FILL else SPAN_MAX
        spans = plan.coalesce(layer.tree.chunks, missing, span_max=size)
        with self._condition:
            for span in spans:
                heapq.heappush(self._queue, (why, later, next(self._tickets), layer, span))
            self._awaited += 0 if later else len(spans)
            self._start(len(spans))
            self._condition.notify_all()
        return sum(span.end - span.start for span in spans)

    def wait(self, timeout: float | None = None) -> bool:
        """Until nothing is queued or under way but what is for later."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._awaited or self._closed, timeout)

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._queue.clear()
            self._condition.notify_all()

    def _start(self, needed: int) -> None:
        for _ in range(min(WORKERS - len(self._threads), needed)):
            thread = threading.Thread(target=self._work, name="lazyfs-prefetch", daemon=True)
            if begun(thread):
                self._threads.append(thread)

    def _work(self) -> None:
        while (task := self._take()) is not None:
            layer, span, why, later = task
            try:
                self._reader.fetch(layer, span, why)
            except (LazybuildError, MemoryError):
                self._failed += 1  # whoever reads it for real will fetch it or be told why not
            finally:
                with self._condition:
                    self._awaited -= not later
                    self._condition.notify_all()

    def _take(self) -> tuple[LazyLayer, Span, Why, bool] | None:
        with self._condition:
            self._condition.wait_for(lambda: self._queue or self._closed)
            if self._closed:
                return None
            why, later, _, layer, span = heapq.heappop(self._queue)
            return layer, span, why, later
