"""The numbers of a build, put together from those who counted."""

import time
from collections.abc import Iterator, Mapping, Sequence

from lazybuild.build.collect import Collector
from lazybuild.build.engine import Engine
from lazybuild.build.finish import Built
from lazybuild.build.lowers import Mode
from lazybuild.build.space import Space
from lazybuild.events import Noted
from lazybuild.request import BuildStats, LayerStats, PrefetchStats

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
    space: Space, engine: Engine, images: Sequence[Built], events: Collector, started: float
) -> BuildStats:
    """Of all images of a target together."""
    read, requests = _read_layers(space, engine)
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
        wall_seconds=round(time.monotonic() - started, 3),
        bytes_fetched=sum(layer.bytes_fetched for layer in read),
        requests=requests,
        layers=(*base, *own),
        steps=events.steps(),
        prefetch=(*(item for built in images for item in built.prefetch), *_profiled(engine)),
    )


def _modes(space: Space, engine: Engine) -> Iterator[Mode]:
    """Those of the target's own graphs: other targets of the solve may have other bases."""
    rows = [
        space.store.meta.layer(name) for one in engine.caches.solved for name in one.layer_ids()
    ]
    digests = {row.descriptor.digest for row in rows if row and row.descriptor}
    return (mode for mode in engine.lowers.modes() if mode.digest in digests)


def _profiled(engine: Engine) -> Iterator[PrefetchStats]:
    """Layers of which chunks were fetched because a profile named them."""
    for layer in engine.ahead.fetched():
        yield PrefetchStats(
            digest=layer.digest, files=layer.chunks, bytes=layer.bytes, sources=("profile",)
        )


def _read_layers(space: Space, engine: Engine) -> tuple[list[LayerStats], int]:
    lazy = space.lazy_if_started()
    read = lazy.stats() if lazy is not None else {}
    layers = []
    for mode in _modes(space, engine):
        seen = read.get(mode.digest)
        fetched = seen.bytes_fetched if seen else mode.size if mode.mode == "eager" else 0
        layers.append(
            LayerStats(
                digest=mode.digest,
                mode=mode.mode,
                reason=mode.reason,
                size=mode.size,
                bytes_fetched=fetched,
                bytes_read=seen.bytes_read if seen else 0,
                requests=seen.requests if seen else 0,
                fetched_for=_some(seen.fetched_for) if seen else {},
                used_of=_some(seen.used_of) if seen else {},
            )
        )
    return layers, sum(layer.requests for layer in read.values())


def _some(figures: Mapping[str, int]) -> dict[str, int]:
    return {name: size for name, size in figures.items() if size}


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
