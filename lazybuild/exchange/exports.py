"""What a build gives to other machines: the records of its graph, as a document and its layers.

Decides nothing about where it goes (`places` does). A layer of a base image is never part of what
is written: whoever has the record gets it from the base image.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from lazybuild.errors import BuildError, LazybuildError
from lazybuild.events import Noted, Sink, Warned
from lazybuild.exchange import document
from lazybuild.exchange.document import CachedLayer, CacheDocument, CachedRecord
from lazybuild.exchange.places import Place, manifest_of
from lazybuild.llb.graph import Vertex
from lazybuild.llb.ops import SourceOp
from lazybuild.oci.digest import Digest
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.store import Layer


class Mode(StrEnum):
    """`min`: the steps whose layers are in the result; `max`: every step."""

    MIN = "min"
    MAX = "max"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A vertex that has a result, under its key."""

    key: str
    name: str
    snapshot: Snapshot


class Known(Protocol):
    """What a solver has found out of a graph."""

    def key_of(self, vertex: Vertex) -> str | None: ...

    def result_of(self, key: str, vertex: Vertex) -> object: ...


def steps(known: Known, vertices: Iterable[Vertex]) -> list[Step]:
    """The vertices whose results can be had without running anything."""
    found = []
    for vertex in vertices:
        key = None if isinstance(vertex.op, SourceOp) else known.key_of(vertex)
        result = known.result_of(key, vertex) if key else None
        if key and isinstance(result, Snapshot) and result.layers:
            found.append(Step(key=key, name=vertex.name, snapshot=result))
    return found


def chosen(found: Sequence[Step], final: Snapshot, mode: Mode) -> list[Step]:
    if mode is Mode.MAX:
        return list(found)
    return [s for s in found if s.snapshot.layers == final.layers[: len(s.snapshot.layers)]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A document and the layers that it brings along, in the order of its manifest."""

    document: CacheDocument
    own: tuple[Layer, ...]


def assemble(
    found: Sequence[Step],
    memos: dict[str, str],
    layer: Callable[[str], Layer],
    bases: Collection[Digest],
) -> Export:
    """Put together what the steps need; each layer must have a blob by now."""
    names = list(dict.fromkeys(name for step in found for name in step.snapshot.layers))
    layers = [layer(name) for name in names]
    places = {name: place for place, name in enumerate(names)}
    cached = tuple(_cached(item, bases) for item in layers)
    records = {
        step.key: CachedRecord(
            layers=tuple(places[name] for name in step.snapshot.layers), name=step.name
        )
        for step in found
    }
    own = tuple(item for item, entry in zip(layers, cached, strict=True) if entry.own)
    return Export(document=CacheDocument(layers=cached, records=records, memos=memos), own=own)


def _cached(layer: Layer, bases: Collection[Digest]) -> CachedLayer:
    if layer.descriptor is None or layer.diff_id is None:
        raise BuildError(f"layer {layer.id} has no blob")
    return CachedLayer(
        descriptor=layer.descriptor,
        diff_id=layer.diff_id,
        own=layer.descriptor.digest not in bases,
        created=layer.created,
    )


def write(export: Export, place: Place, sink: Sink, *, strict: bool) -> None:
    """Bring a cache to its place. `strict` raises when that fails; otherwise it is a warning."""
    config = document.encode(export.document)
    descriptors = [entry.descriptor for entry in export.document.layers if entry.own]
    try:
        if len(config) > document.MAX_BYTES:
            raise BuildError(f"a cache of {len(config)} bytes is over {document.MAX_BYTES}")
        place.write(manifest_of(config, descriptors), config, export.own)
    except LazybuildError as error:
        if strict:
            raise
        sink(Warned(message=f"cache {place.title} was not written: {error.message}"))
        return
    count = len(export.document.records)
    sink(Noted(message=f"cache {place.title}: {count} step{'s' * (count != 1)} written"))


def inline(found: Sequence[Step], final: Snapshot, memos: dict[str, str]) -> CacheDocument:
    """The cache that goes into the image itself: its layers are the image's, in order."""
    records = {
        step.key: CachedRecord(layers=tuple(range(len(step.snapshot.layers))), name=step.name)
        for step in chosen(found, final, Mode.MIN)
    }
    return CacheDocument(records=records, memos=memos)
