"""Of which layers of a step's root the opens are noted, and what each of them holds."""

import threading

from lazybuild.build.space import Space
from lazybuild.snapshots.lazyfs.trace import DirectoryLayer, TracedLayer, TreeLayer
from lazybuild.snapshots.manager import Snapshots
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.store import Layer


class TracedLayers:
    """Where layers are stacked: directories of steps; of an unpacked base too with `bases`, which
    keeps the order of its blob otherwise. Where they are copied: all that have a table of contents,
    those of the base among them, since no lazy file system sees what is read of them.
    """

    def __init__(self, space: Space, snapshots: Snapshots, *, bases: bool) -> None:
        self._space = space
        self._snapshots = snapshots
        self._bases = bases
        self._lock = threading.Lock()
        self._trees: dict[str, TreeLayer] = {}

    def of(self, snapshot: Snapshot) -> list[TracedLayer]:
        """Bottom first."""
        layers = map(self._snapshots.layer, dict.fromkeys(snapshot.layers))
        return [found for layer in layers if (found := self._traced(layer)) is not None]

    def _traced(self, layer: Layer) -> TracedLayer | None:
        if layer.directory and (self._bases or not layer.origins):
            return DirectoryLayer(layer.id, self._space.store.snapshot_dir(layer.id))
        if layer.toc_digest and self._space.copies() is not None:
            return self._tree(layer.id)
        return None

    def _tree(self, layer_id: str) -> TreeLayer:
        """Each once: it keeps what it found, and layers don't change."""
        tree = self._snapshots.layer_tree(layer_id)
        with self._lock:
            return self._trees.setdefault(layer_id, TreeLayer(layer_id, tree))
