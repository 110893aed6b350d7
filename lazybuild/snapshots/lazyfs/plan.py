"""Which ranges of a blob to ask for. Pure decisions over the chunk table of a `Tree`.

Latency is dearer than bytes, up to a point: neighbours that are wanted are joined over small gaps,
and the bytes that lie in the gaps are bounded by a share of those that are wanted.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lazybuild.snapshots.lazyfs.tree import Chunks

GAP_MAX = 256 << 10
GAP_SHARE = 0.08
SPAN_MAX = 1 << 20
LANDMARK_FREE, LANDMARK_SHARE, LANDMARK_MAX = 4 << 20, 2, 64 << 20


@dataclass(frozen=True, slots=True)
class Span:
    """One request: the bytes `start:end` of the blob, which hold these chunks whole."""

    start: int
    end: int
    chunks: tuple[int, ...]


class BlobOrder:
    """The chunks of a layer in the order in which they stand in the blob."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._order: Sequence[int] = range(len(chunks))
        self._rank: Sequence[int] = self._order
        if any(a > b for a, b in pairwise(chunks.offset)):
            self._sort()

    def _sort(self) -> None:
        c = self._chunks
        order = sorted(range(len(c)), key=lambda i: (c.offset[i], c.inner[i]))
        rank = array("I", bytes(4 * len(order)))
        for place, chunk in enumerate(order):
            rank[chunk] = place
        self._order, self._rank = array("I", order), rank

    def following(self, chunk: int) -> Iterator[int]:
        """The chunk itself and those that stand after it."""
        order = self._order
        for place in range(self._rank[chunk], len(order)):
            yield order[place]

    def before(self, offset: int) -> Iterator[int]:
        """All chunks that end at `offset` or earlier, from the start of the blob."""
        for chunk in self._order:
            if self._chunks.end[chunk] > offset:
                return
            yield chunk

    def sort(self, chunks: Iterable[int]) -> list[int]:
        return sorted(set(chunks), key=self._rank.__getitem__)


def prefetch_end(landmark: int, size: int) -> int:
    """Up to where a blob of `size` bytes is fetched because its writer wants it: the landmark, but
    not much more than an honest writer's, so that no landmark makes a lazy layer an eager one.
    """
    return min(landmark, LANDMARK_MAX, max(LANDMARK_FREE, size // LANDMARK_SHARE))


def readahead(
    order: BlobOrder, chunks: Chunks, wanted: int, *, window: int, missing: Callable[[int], bool]
) -> Span:
    """The span that starts with the wanted chunk and goes on over missing ones for `window`."""
    start, end, taken = chunks.offset[wanted], chunks.end[wanted], list[int]()
    for chunk in order.following(wanted):
        if taken and (chunks.end[chunk] - start > window or not missing(chunk)):
            break
        if chunk != wanted and chunks.offset[chunk] > end:
            break
        taken.append(chunk)
        end = max(end, chunks.end[chunk])
    return Span(start, end, tuple(taken))


def coalesce(chunks: Chunks, ordered: Sequence[int], *, span_max: int = SPAN_MAX) -> list[Span]:
    """Spans over chunks given in blob order: small gaps bridged, long runs cut for parallelism."""
    if not ordered:
        return []
    bridged = _bridged_gaps(chunks, ordered)
    spans, run = list[Span](), [ordered[0]]
    for place, chunk in enumerate(ordered[1:], 1):
        grown = chunks.end[chunk] - chunks.offset[run[0]]
        shared = chunks.offset[chunk] == chunks.offset[run[-1]]
        if shared or (place in bridged and grown <= span_max):
            run.append(chunk)
        else:
            spans.append(_span(chunks, run))
            run = [chunk]
    return [*spans, _span(chunks, run)]


def _bridged_gaps(chunks: Chunks, ordered: Sequence[int]) -> set[int]:
    """Places of chunks joined to the one before: the smallest gaps first, while they are cheap."""
    gaps = sorted(
        (max(0, chunks.offset[b] - chunks.end[a]), place)
        for place, (a, b) in enumerate(pairwise(ordered), 1)
    )
    left = int(sum(chunks.end[c] - chunks.offset[c] for c in ordered) * GAP_SHARE)
    bridged = set[int]()
    for gap, place in gaps:
        left -= gap
        if gap > GAP_MAX or left < 0:
            break
        bridged.add(place)
    return bridged


def _span(chunks: Chunks, run: Sequence[int]) -> Span:
    return Span(chunks.offset[run[0]], max(chunks.end[chunk] for chunk in run), tuple(run))
