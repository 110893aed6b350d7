"""The solver's cache in the store: which layers a key stands for. A cache that fails is a miss."""

from lazybuild.llb.graph import Vertex
from lazybuild.llb.ops import outputs
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.snapshots.snapshot import Snapshot, together
from lazybuild.store import Store
from lazybuild.worker.services import Result

MEMO = "content"


class Records:
    """`load` only gives snapshots whose every layer can still be had."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def holds(self, key: str) -> bool:
        return self._layers(key) is not None

    def load(self, key: str, vertex: Vertex) -> Result | None:
        found = [self._layers(name) for name in _names(key, vertex)]
        known = [Snapshot(layers) for layers in found if layers is not None]
        return together(known) if len(known) == len(found) else None

    def _layers(self, key: str) -> tuple[str, ...] | None:
        layers = self._store.meta.load_record(key)
        if layers is None or not all(self._has(layer) for layer in layers):
            return None
        return tuple(layers)

    def save(self, key: str, vertex: Vertex, result: Result) -> None:
        if not isinstance(result, HostTree):
            for name, one in zip(_names(key, vertex), (result, *result.beside), strict=False):
                self._store.meta.save_record(name, one.layers, vertex.name)

    def memo(self, key: str) -> str | None:
        return self._store.meta.memo_get(MEMO, key)

    def save_memo(self, key: str, value: str) -> None:
        self._store.meta.memo_put(MEMO, key, value)

    def _has(self, layer_id: str) -> bool:
        layer = self._store.meta.layer(layer_id)
        if layer is None:
            return False
        if layer.directory or layer.origins:
            return True
        return layer.descriptor is not None and self._store.blobs.has(layer.descriptor.digest)


def _names(key: str, vertex: Vertex) -> list[str]:
    """A record for each output of an op, the first under the key alone."""
    return [key, *(f"{key}:{number}" for number in range(1, outputs(vertex.op)))]
