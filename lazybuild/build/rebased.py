"""Layers of a base that can't be read lazily, converted for the image that is built on them.

The image gets new layers with the same files: another digest and diff ID each, so that it shares
none with its base any more. The base itself, and the cache, stay as they are. What a layer was
converted into is remembered, so that images of one store share it; its order is what the first of
them saw.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lazybuild.build import convert
from lazybuild.build.dated import Hot
from lazybuild.build.engine import Engine
from lazybuild.build.space import Space
from lazybuild.errors import BuildError
from lazybuild.events import Noted
from lazybuild.oci.descriptor import Descriptor
from lazybuild.store import Layer

MEMO = "converted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebased:
    """The layer for the image, the names that were put first in it, and where they are from."""

    layer: Layer
    names: Sequence[str] = ()
    sources: Sequence[str] = ()


def rebased(space: Space, engine: Engine, layer_id: str, hot: Hot) -> Rebased:
    """A layer of the base, or its conversion when it is not lazy. Fetches it whole for that."""
    layer = engine.snapshots.layer(layer_id)
    if layer.toc_digest or layer.descriptor is None or not engine.options.compression.lazy:
        return Rebased(layer=layer)
    names, sources = hot() if layer.directory else ((), ())
    meta, key = space.store.meta, _key(engine, layer.descriptor, ordered=bool(names))
    known = meta.layer(meta.memo_get(MEMO, key) or "")
    if known is None or known.descriptor is None or not _is_somewhere(space, known):
        known = _made(space, engine, layer, names)
        meta.memo_put(MEMO, key, known.id)
    space.sink(Noted(message=_told(layer, known)))
    return Rebased(layer=known, names=names, sources=sources)


def _made(space: Space, engine: Engine, layer: Layer, names: Sequence[str]) -> Layer:
    """The times of its files are the base's, whatever the epoch of the image is."""
    if layer.diff_id is None:
        raise BuildError(f"layer {layer.id} has no diff ID")
    options = replace(engine.options, epoch=None)
    hot = (lambda _: names) if names else None
    new = convert.rewritten(space, layer, layer.diff_id, hot, options)
    return engine.snapshots.layer(new.id)


def _key(engine: Engine, descriptor: Descriptor, *, ordered: bool) -> str:
    options = engine.options
    how = f"{options.compression} {options.level} {options.prefetch and ordered}"
    return f"{descriptor.digest} {how}"


def _is_somewhere(space: Space, layer: Layer) -> bool:
    here = layer.descriptor is not None and space.store.blobs.has(layer.descriptor.digest)
    return here or bool(layer.origins)


def _told(old: Layer, new: Layer) -> str:
    parts = [
        f"{it.descriptor.digest[:19]} {it.descriptor.size / 1e6:.1f} MB"
        for it in (old, new)
        if it.descriptor
    ]
    return f"base layer {' became '.join(parts)}: not shared with the base any more"
