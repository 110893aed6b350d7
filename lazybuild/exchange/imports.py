"""The solver's cache with what other machines know: records of this store first, then imports.

A record that is taken over becomes one of this store, once every layer of it is vouched for: its
TOC is the one that the manifest names, or the whole blob is here. Anything else is a miss.
"""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

from lazybuild.errors import IntegrityError, LazybuildError
from lazybuild.estargz.reader import open_toc
from lazybuild.events import Noted, Sink, Warned
from lazybuild.exchange.document import CachedLayer, CacheDocument
from lazybuild.exchange.parallel import all_of
from lazybuild.exchange.places import Place, understood
from lazybuild.llb.graph import Vertex
from lazybuild.llb.ops import outputs
from lazybuild.oci import digest as digests
from lazybuild.oci.descriptor import TOC_DIGEST
from lazybuild.oci.digest import Digest
from lazybuild.oci.ranges import RangeReader
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.store import Layer, Store
from lazybuild.worker.records import Records
from lazybuild.worker.services import Result

SMALL = 128 << 10  # bytes; looking for the TOC reads as much, so such a layer may as well be had


class Imported:
    """One cache that was read, and the place its layers are had from."""

    def __init__(self, place: Place, document: CacheDocument) -> None:
        self.place = place
        self.document = document


def read_all(places: Sequence[Place], sink: Sink, *, strict: bool) -> list[Imported]:
    """Every cache that can be read, all at the same time. `strict` raises for one that can't."""
    found = all_of([partial(_read, place, sink, strict=strict) for place in places])
    return [imported for imported in found if imported is not None]


def _read(place: Place, sink: Sink, *, strict: bool) -> Imported | None:
    try:
        imported = Imported(place, understood(*place.open()))
    except LazybuildError as error:
        if strict:
            raise
        sink(Warned(message=f"cache {place.title} can't be used: {error.message}"))
        return None
    count = len(imported.document.records)
    sink(Noted(message=f"cache {place.title}: {count} step{'s' * (count != 1)}"))
    return imported


class ImportedRecords:
    """A `Cache` for the solver. `bases` are the layers of the images that this build starts from:
    of these, and of its own layers, a foreign record may be made, and of nothing else.
    """

    def __init__(
        self,
        store: Store,
        imports: Sequence[Imported],
        bases: Collection[Digest],
        ranges: Callable[[Layer], RangeReader],
        sink: Sink,
    ) -> None:
        self._records = Records(store)
        self._store = store
        self._imports = imports
        self._bases = bases
        self._ranges = ranges
        self._sink = sink
        self._lock = threading.Lock()
        self.taken: dict[str, str] = {}  # key to the title of the cache that had it
        self.used_memos: dict[str, str] = {}

    def holds(self, key: str) -> bool:
        documents = (imported.document for imported in self._imports)
        return self._records.holds(key) or any(key in found.records for found in documents)

    def load(self, key: str, vertex: Vertex) -> Result | None:
        found = self._records.load(key, vertex)
        if found is not None or outputs(vertex.op) > 1:  # a document knows first outputs only
            return found
        for imported in self._imports:
            if key in imported.document.records:
                snapshot = self._take(imported, key, vertex)
                if snapshot is not None:
                    return snapshot
        return None

    def save(self, key: str, vertex: Vertex, result: Result) -> None:
        self._records.save(key, vertex, result)

    def memo(self, key: str) -> str | None:
        known = self._records.memo(key)
        if known is None:
            documents = [imported.document for imported in self._imports]
            known = next((found.memos[key] for found in documents if key in found.memos), None)
        if known is not None:
            self.used_memos[key] = known
        return known

    def save_memo(self, key: str, value: str) -> None:
        self.used_memos[key] = value
        self._records.save_memo(key, value)

    def _take(self, imported: Imported, key: str, vertex: Vertex) -> Snapshot | None:
        layers = imported.document.of(imported.document.records[key])
        try:
            with self._lock:
                ids = all_of([partial(self._layer, imported.place, layer) for layer in layers])
        except LazybuildError as error:
            title = imported.place.title
            self._sink(Warned(message=f"cache {title}: {vertex.name}: {error.message}"))
            return None
        snapshot = Snapshot(tuple(ids))
        self._records.save(key, vertex, snapshot)
        self.taken[key] = imported.place.title
        return snapshot

    def _layer(self, place: Place, layer: CachedLayer) -> str:
        known = self._store.meta.layer_by_digest(layer.descriptor.digest)
        if not layer.own:
            if known is None or layer.descriptor.digest not in self._bases:
                raise IntegrityError(f"{layer.descriptor.digest} is of no base image of this build")
            return known.id
        if known is not None and known.diff_id not in (None, layer.diff_id):
            raise IntegrityError(f"{layer.descriptor.digest}: not the diff ID that is known here")
        if known is not None and self._is_here(known):
            return known.id
        return self._adopted(place, known or _layer(layer)).id

    def _adopted(self, place: Place, layer: Layer) -> Layer:
        """The layer as a row of the store, vouched for."""
        wanted = replace(layer, origins=tuple(dict.fromkeys((*layer.origins, *place.origins))))
        if wanted.descriptor is None:
            raise IntegrityError(f"layer {layer.id} has no blob")
        if not wanted.toc_digest or not place.origins or wanted.descriptor.size <= SMALL:
            place.fetch(wanted.descriptor)
        if wanted.toc_digest:
            self._check_toc(wanted)
        self._store.meta.put_layer(wanted)
        return wanted

    def _check_toc(self, layer: Layer) -> None:
        notes = layer.descriptor.annotations if layer.descriptor else {}
        found = open_toc(self._ranges(layer), notes)
        if found is None:
            raise IntegrityError(f"{layer.id}: no TOC, though the manifest names one")
        found.verify(layer.toc_digest or "")

    def _is_here(self, layer: Layer) -> bool:
        if layer.directory:
            return True
        return layer.descriptor is not None and self._store.blobs.has(layer.descriptor.digest)


def _layer(layer: CachedLayer) -> Layer:
    return Layer(
        id=digests.hex_part(layer.descriptor.digest),
        descriptor=layer.descriptor,
        diff_id=layer.diff_id,
        toc_digest=layer.descriptor.annotations.get(TOC_DIGEST),
        ordered=True,
        created=layer.created,
    )
