"""The numbers of a build, put together from those who counted."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from lazybuild.build.collect import Collector, step_of
from lazybuild.build.engine import Engine
from lazybuild.build.finish import Built
from lazybuild.build.journal import Journal, Journals
from lazybuild.build.space import Space
from lazybuild.events import Noted
from lazybuild.oci.digest import Digest
from lazybuild.request import BuildStats, LayerStats, PrefetchStats, StepStats

REASONS = {
    "asked": "asked for",
    "ahead": "read ahead",
    "prefetch": "by profile or landmark",
    "expected": "named by commands",
    "speculation": "guessed",
    "later": "for later steps",
    "fill": "in the background",
}


def statistics(
    space: Space,
    engine: Engine,
    images: Sequence[Built],
    events: Collector,
    journals: Journals,
) -> BuildStats:
    """Of all images of a target together; `journals` are of all that are solved together."""
    found = journals.gather().values()
    mine = _digests(space, engine)
    read = [journal.layer for journal in found if journal.layer.digest in mine]
    base = [layer for layer in read if layer.digest not in engine.tools]
    for layer in base:
        if layer.fetched_for:
            space.sink(Noted(message=spent(layer)))
    foreign = {layer.digest for layer in read}
    made = {layer.id: layer for built in images for layer in built.layers}
    own = [
        LayerStats(digest=layer.descriptor.digest, mode="local", size=layer.descriptor.size)
        for layer in made.values()
        if layer.descriptor is not None
        and not layer.origins
        and layer.descriptor.digest not in foreign
    ]
    return BuildStats(
        tier=space.tier,
        wall_seconds=round(journals.elapsed, 3),
        bytes_fetched=sum(layer.bytes_fetched for layer in read),
        requests=sum(layer.requests for layer in read),
        layers=(*base, *own),
        steps=tuple(_steps(events, found)),
        prefetch=(*(item for built in images for item in built.prefetch), *_profiled(engine)),
    )


def _digests(space: Space, engine: Engine) -> set[Digest]:
    """Of the layers in the target's own graphs: other targets of the solve may have other bases."""
    rows = [
        space.store.meta.layer(name) for one in engine.caches.solved for name in one.layer_ids()
    ]
    return {row.descriptor.digest for row in rows if row and row.descriptor}


def _profiled(engine: Engine) -> Iterator[PrefetchStats]:
    """Layers of which chunks were fetched because a profile named them."""
    for layer in engine.ahead.fetched():
        yield PrefetchStats(
            digest=layer.digest, files=layer.chunks, bytes=layer.bytes, sources=("profile",)
        )


def _steps(events: Collector, journals: Collection[Journal]) -> Iterator[StepStats]:
    """What was fetched while a step ran counts for it, whoever wanted it."""
    fetches = [it for journal in journals for it in journal.fetches if it.why != "toc"]
    began = next((journal.began for journal in journals), 0.0)
    for span in events.spans():
        begin, end = span.begin - began, span.end - began
        during = [it for it in fetches if not span.cached and begin <= it.begin <= end]
        size = sum(it.length for it in during)
        yield replace(step_of(span), bytes_fetched=size, requests=len(during))


def spent(layer: LayerStats) -> str:
    """What was fetched of a lazy layer and why, and how much of each guess was of use."""
    parts = [
        f"{_megabytes(layer.fetched_for[name])} {words}{_share(layer, name)}"
        for name, words in REASONS.items()
        if layer.fetched_for.get(name)
    ]
    head = f"layer {layer.digest[:19]}: {_megabytes(layer.bytes_fetched)} MB"
    return f"{head} in {layer.requests} requests: {', '.join(parts)}"


def _share(layer: LayerStats, name: str) -> str:
    """All that is asked for is used."""
    if name == "asked":
        return ""
    return f" ({100 * layer.used_of.get(name, 0) / layer.fetched_for[name]:.0f} % used)"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"
