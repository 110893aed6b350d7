"""What the last build that used a layer did with it: the requests, the map of its blob, the steps.

Kept in the store for each layer that came from outside, as long as the layer is, by successful
builds and by those that failed. `lazybuild inspect` shows it. Bounded, whatever a build does.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from lazybuild.build.collect import Collector, Span
from lazybuild.build.lowers import Lowers, Mode
from lazybuild.build.space import Space
from lazybuild.errors import LazybuildError
from lazybuild.events import Noted
from lazybuild.oci.digest import Digest
from lazybuild.request import LayerStats
from lazybuild.snapshots.lazyfs import blobmap, messages
from lazybuild.snapshots.lazyfs.blobmap import Cell, Part
from lazybuild.snapshots.lazyfs.fetchlog import Fetch, FetchLog
from lazybuild.snapshots.lazyfs.messages import LayerJournal
from lazybuild.store import Layer, Store
from lazybuild.store.meta import OF_A_LAYER

MEMO = f"{OF_A_LAYER}journal-1"
MAX_STEPS = 64
LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """`began` is `time.time()`; all other times are seconds after it. `fetches` are in the order of
    their answers, `left_out` more were not noted; of `count` cells, `cells` are those touched.
    """

    began: float
    seconds: float
    layer: LayerStats
    fetches: tuple[Fetch, ...] = ()
    left_out: int = 0
    count: int = 1
    cells: tuple[Cell, ...] = ()
    steps: tuple[Span, ...] = ()


def load(store: Store, layer_id: str) -> Journal | None:
    """The journal of a layer of the store, None when no build of this store read it."""
    text = store.meta.memo_get(MEMO, layer_id)
    return _decode(json.loads(text)) if text else None


class Journals:
    """`with Journals(...)`: what the body does is in the store afterwards, also when it fails."""

    def __init__(
        self, space: Space, lowers: Lowers, events: Sequence[Collector], started: float
    ) -> None:
        """`started` is the build's beginning by `time.monotonic()`."""
        self._space = space
        self._lowers = lowers
        self._events = events
        self._started = started
        self._began = time.time() - self.elapsed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            notes = {layer_id: _encode(it) for layer_id, it in self.gather().items()}
            self._space.store.meta.put_memos(MEMO, notes)
        except LazybuildError as lost:
            if error is None:  # else that one says more
                said = f"`inspect` won't know what this build fetched: {lost.message}"
                self._space.sink(Noted(message=said))

    @property
    def elapsed(self) -> float:
        """Seconds since the build began."""
        return time.monotonic() - self._started

    def gather(self) -> Mapping[str, Journal]:
        """As of now, by id, a journal for each layer that came from outside and was used."""
        found: dict[str, Journal] = {}
        lazy, logs = self._space.lazy_if_started(), self._space.logs()
        seen = lazy.stats() if lazy is not None and lazy.alive else {}
        for mode in self._lowers.modes():
            own = logs.get(mode.layer_id) or FetchLog()
            stats = _stats(mode, seen.get(mode.digest), own)
            if lazy is not None and mode.digest in seen:
                noted = lazy.journal(Digest(mode.digest))
                found[mode.layer_id] = self._made(stats, noted, own)
            else:
                found[mode.layer_id] = self._drawn(stats, own)
        for layer_id, log in logs.items():
            layer = self._space.store.meta.layer(layer_id)
            if layer_id not in found and layer is not None and self._is_new(log.fetches):
                found[layer_id] = self._direct(layer, log)
        return found

    def _direct(self, layer: Layer, log: FetchLog) -> Journal:
        """A layer of which the builder itself read some files; nothing of it was mounted."""
        stats = LayerStats(
            digest=layer.descriptor.digest if layer.descriptor else layer.id,
            mode="lazy" if layer.toc_digest else "eager",
            size=layer.descriptor.size if layer.descriptor else 0,
            bytes_fetched=log.bytes,
            requests=log.requests,
        )
        return self._drawn(stats, log)

    def _drawn(self, stats: LayerStats, log: FetchLog) -> Journal:
        """The map is that of the requests where nobody knows of chunks."""
        parts = [Part(it.offset, it.offset + it.length, "asked") for it in log.fetches]
        cells = blobmap.draw(parts, size=stats.size, count=blobmap.cells_for(stats.size))
        return self._made(stats, LayerJournal(fetches=(), left_out=0, cells=cells), log)

    def _made(self, stats: LayerStats, seen: LayerJournal, own: FetchLog) -> Journal:
        fetches = sorted((*seen.fetches, *own.fetches))
        return Journal(
            began=self._began,
            seconds=round(self.elapsed, 3),
            layer=stats,
            fetches=tuple(self._relative(it) for it in fetches if it.begin >= self._began),
            left_out=seen.left_out + own.requests - len(own.fetches),
            count=blobmap.cells_for(stats.size),
            cells=seen.cells,
            steps=tuple(self._steps()),
        )

    def _is_new(self, fetches: tuple[Fetch, ...]) -> bool:
        """Whether this build, not an earlier one in the same space, asked for it last."""
        return bool(fetches) and fetches[-1].end >= self._began

    def _relative(self, it: Fetch) -> Fetch:
        begin, end = round(it.begin - self._began, 3), round(it.end - self._began, 3)
        return it._replace(begin=begin, end=end)

    def _steps(self) -> Iterator[Span]:
        spans = [span for one in self._events for span in one.spans() if not span.cached]
        for span in spans[:MAX_STEPS]:
            yield Span(
                name=span.name[:LONGEST_NAME],
                begin=round(span.begin - self._began, 3),
                end=round(span.end - self._began, 3),
            )


def _stats(mode: Mode, seen: messages.LayerStats | None, own: FetchLog) -> LayerStats:
    """Of a layer that was mounted lazily, `seen`, or fetched whole; `own` are our own requests."""
    return LayerStats(
        digest=mode.digest,
        mode=mode.mode,
        reason=mode.reason,
        size=mode.size,
        bytes_fetched=own.bytes + (seen.bytes_fetched if seen else 0),
        requests=own.requests + (seen.requests if seen else 0),
        bytes_read=seen.bytes_read if seen else 0,
        fetched_for=_some(seen.fetched_for) if seen else {},
        used_of=_some(seen.used_of) if seen else {},
    )


def _some(figures: Mapping[str, int]) -> dict[str, int]:
    return {name: size for name, size in figures.items() if size}


def _encode(journal: Journal) -> str:
    return json.dumps(asdict(journal), separators=(",", ":"))


def _decode(found: Mapping[str, Any]) -> Journal:
    """The opposite of `_encode`, for text of our own store."""
    made = {
        "layer": LayerStats(**found["layer"]),
        "fetches": tuple(Fetch(*it) for it in found["fetches"]),
        "cells": tuple(Cell(*it) for it in found["cells"]),
        "steps": tuple(Span(**it) for it in found["steps"]),
    }
    return Journal(**{**found, **made})
