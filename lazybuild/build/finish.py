"""From a snapshot to an image: blobs for new layers, their order, config, manifest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from lazybuild.build.dated import dated
from lazybuild.build.engine import Engine
from lazybuild.build.order import Order
from lazybuild.build.space import Space
from lazybuild.build.translate import start_of
from lazybuild.dockerfile.options import Compiled
from lazybuild.errors import BuildError
from lazybuild.exchange.document import INLINE_KEY
from lazybuild.oci import codec, mutate, times
from lazybuild.oci.descriptor import (
    DOCKER_LAYER_GZIP,
    OCI_CONFIG,
    OCI_LAYER_GZIP,
    Descriptor,
)
from lazybuild.oci.image import ImageConfig, Manifest
from lazybuild.oci.mutate import LayerMeta
from lazybuild.request import PrefetchStats
from lazybuild.snapshots.closure import Start
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.store import Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An image whose manifest and config are blobs of the store."""

    manifest: Manifest
    config: ImageConfig
    descriptor: Descriptor
    layers: tuple[Layer, ...]
    snapshot: Snapshot
    prefetch: tuple[PrefetchStats, ...]


def finish(
    space: Space,
    engine: Engine,
    compiled: Compiled,
    snapshot: Snapshot,
    annotations: Mapping[str, str],
) -> Built:
    """Write what is not written yet; the image is in the store when this returns."""
    start = start_of(compiled.config.config)
    converting = engine.converts_base
    order = Order(engine.trace.uses, engine.snapshots, snapshot, start, bases=converting)
    _need_blobs(space, engine, snapshot)
    prefetch = [_write(engine, order, layer_id) for layer_id in snapshot.layers]
    below = len(compiled.base.config.diff_ids) if compiled.base else 0
    base = [_base(space, engine, order, layer_id) for layer_id in snapshot.layers[:below]]
    prefetch += [stats for _, stats in base]
    layers = (
        *(layer for layer, _ in base),
        *(
            dated(space, engine, layer_id, partial(_hot, engine, order, layer_id))
            for layer_id in snapshot.layers[below:]
        ),
    )
    config = mutate.finish(
        compiled.config,
        [_meta(layer) for layer in layers],
        base_history=compiled.config.history[: compiled.base_history],
        epoch=compiled.epoch,
    )
    config = replace(config, extra=_extra(config, engine.caches.inline(snapshot)))
    manifest = Manifest(
        config=_put(space, OCI_CONFIG, codec.encode(config)),
        layers=tuple(_descriptor(layer) for layer in layers),
        annotations=annotations,
    )
    return Built(
        manifest=manifest,
        config=config,
        descriptor=_put(space, manifest.media_type, codec.encode(manifest)),
        layers=layers,
        snapshot=snapshot,
        prefetch=tuple(item for item in prefetch if item is not None),
    )


def _base(
    space: Space, engine: Engine, order: Order, layer_id: str
) -> tuple[Layer, PrefetchStats | None]:
    """A layer of the base as the image has it: as it is, unless it is to be converted."""
    if not engine.converts_base:
        return engine.snapshots.layer(layer_id), None
    from lazybuild.build.rebased import rebased  # noqa: PLC0415 - few builds need it

    found = rebased(space, engine, layer_id, partial(_hot, engine, order, layer_id))
    if not found.names or found.layer.descriptor is None:
        return found.layer, None
    sizes = _sizes(engine, layer_id, found.names)
    return found.layer, PrefetchStats(
        digest=found.layer.descriptor.digest,
        files=len(found.names),
        bytes=sum(sizes),
        sources=tuple(found.sources),
    )


def _extra(config: ImageConfig, cache: Mapping[str, object]) -> Mapping[str, object]:
    """What a base image's own cache says is not true of the new image."""
    kept = {key: value for key, value in config.extra.items() if key != INLINE_KEY}
    return {**kept, **cache}


def write_blob(space: Space, engine: Engine, layer_id: str) -> None:
    """The blob of a layer that is not part of the image, for a cache."""
    snapshot = Snapshot((layer_id,))
    _need_blobs(space, engine, snapshot)
    order = Order(engine.trace.uses, engine.snapshots, snapshot, Start(argv=()))
    _write(engine, order, layer_id)


def _need_blobs(space: Space, engine: Engine, snapshot: Snapshot) -> None:
    """Files of a directory may belong to ids that only the namespace has."""
    layers = [engine.snapshots.layer(layer_id) for layer_id in snapshot.layers]
    if any(layer.directory and not layer.ordered for layer in layers):
        space.enter()


def _write(engine: Engine, order: Order, layer_id: str) -> PrefetchStats | None:
    layer = engine.snapshots.layer(layer_id)
    plain = layer.descriptor is not None and layer.toc_digest is None
    if layer.ordered or plain:
        return None
    names, sources = _hot(engine, order, layer_id)
    descriptor = engine.snapshots.write_blob(layer_id, names, engine.options)
    sizes = _sizes(engine, layer_id, names)
    return PrefetchStats(
        digest=descriptor.digest, files=len(names), bytes=sum(sizes), sources=sources
    )


def _sizes(engine: Engine, layer_id: str, names: Sequence[str]) -> list[int]:
    tree = engine.snapshots.layer_tree(layer_id)
    return [node.size for name in names if (node := tree.lookup(name))]


def _hot(engine: Engine, order: Order, layer_id: str) -> tuple[Sequence[str], tuple[str, ...]]:
    """The names that come first in a layer, and where they are from."""
    return order.of(layer_id) if engine.options.prefetch else ((), ())


def _put(space: Space, media_type: str, data: bytes) -> Descriptor:
    return Descriptor(media_type=media_type, digest=space.store.blobs.put(data), size=len(data))


def _meta(layer: Layer) -> LayerMeta:
    if layer.diff_id is None:
        raise BuildError(f"layer {layer.id} has no diff ID")
    return LayerMeta(diff_id=layer.diff_id, created=times.format_ns(layer.created))


def _descriptor(layer: Layer) -> Descriptor:
    """As the manifest has it: OCI's media types, since only they carry the TOC annotations."""
    if layer.descriptor is None:
        raise BuildError(f"layer {layer.id} has no blob")
    if layer.descriptor.media_type == DOCKER_LAYER_GZIP:
        return replace(layer.descriptor, media_type=OCI_LAYER_GZIP)
    return layer.descriptor
