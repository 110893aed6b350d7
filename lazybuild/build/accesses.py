"""Notes which chunks of lazy layers a step reads, and keeps it in the store by the step's keys.

A chunk counts for the step that was the first of its build to read it. What an older record has and
another step of this build read before is kept, what nobody read any more is dropped: so records
neither shrink with the order of steps nor grow from build to build.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lazybuild.build import profile
from lazybuild.build.profile import StepReads
from lazybuild.build.space import Space
from lazybuild.llb.graph import Vertex
from lazybuild.oci.digest import Digest, hex_part
from lazybuild.snapshots.toctree import TocTree

if TYPE_CHECKING:
    from lazybuild.snapshots.lazyfs.client import LazyFs
    from lazybuild.snapshots.manager import Snapshots

MEMO = "profile"
READ_WHOLE = 16 << 20  # bytes of a file that is opened; nobody knows how much of it is read


class Accesses:
    """Records of steps, in the store. `recorded` are those that changed in this build."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._lock = threading.Lock()
        self._recorded: dict[str, tuple[Vertex, StepReads]] = {}

    def known(self, keys: Sequence[str]) -> StepReads | None:
        """The record of a step by the first of its keys that the store knows."""
        for key in keys:
            text = self._space.store.meta.memo_get(MEMO, key)
            if text:
                return StepReads(keys=tuple(keys), layers=profile.parse_layers(text))
        return None

    def recorded(self) -> list[tuple[Vertex, StepReads]]:
        with self._lock:
            return list(self._recorded.values())

    @contextmanager
    def watch(self, vertex: Vertex, layers: Sequence[Digest]) -> Iterator[None]:
        """Note what is read of these layers meanwhile."""
        lazy = self._space.lazy_if_started()
        if lazy is None or not layers:
            yield
            return
        before = {digest: layer.chunks_read for digest, layer in lazy.stats().items()}
        yield
        if lazy.alive:
            self._keep(vertex, _read(lazy, layers), before)

    def guess(
        self, vertex: Vertex, snapshots: "Snapshots", opened: Mapping[str, Sequence[str]]
    ) -> None:
        """Note a step whose opens alone were seen (names by layer id): files are read whole then,
        large ones at their beginning.
        """
        layers: dict[str, tuple[str, ...]] = {}
        for layer_id, names in opened.items():
            layer, tree = snapshots.layer(layer_id), snapshots.layer_tree(layer_id)
            if layer.descriptor is not None and layer.origins and isinstance(tree, TocTree):
                found = dict.fromkeys(_chunks(tree, names))
                layers[layer.descriptor.digest] = tuple(found)[: profile.MAX_CHUNKS]
        keys = profile.keys_of(vertex)
        if keys and layers:
            self._save(vertex, StepReads(keys=keys, layers=layers))

    def _keep(
        self, vertex: Vertex, read: Mapping[str, list[str]], before: Mapping[str, int]
    ) -> None:
        keys = profile.keys_of(vertex)
        if not keys:
            return
        old = self.known(keys)
        layers: dict[str, tuple[str, ...]] = {}
        for digest, chunks in read.items():
            wanted = dict.fromkeys(chunks[before.get(digest, 0) :])
            kept = old.layers.get(digest, ()) if old else ()
            everything = set(chunks)
            wanted |= dict.fromkeys(chunk for chunk in kept if chunk in everything)
            if wanted:
                layers[digest] = tuple(wanted)[: profile.MAX_CHUNKS]
        reads = StepReads(keys=keys, layers=layers)
        if layers and reads.differs(old):
            self._save(vertex, reads)

    def _save(self, vertex: Vertex, reads: StepReads) -> None:
        text = profile.encode_layers(reads.layers)
        for key in reads.keys:
            self._space.store.meta.memo_put(MEMO, key, text)
        with self._lock:
            self._recorded[vertex.digest] = (vertex, reads)


def _chunks(tree: TocTree, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        chunks = tree.chunks(name)
        count = len(chunks) if sum(chunk.size for chunk in chunks) <= READ_WHOLE else 1
        yield from (hex_part(Digest(chunk.digest)) for chunk in chunks[:count])


def _read(lazy: "LazyFs", layers: Sequence[Digest]) -> dict[str, list[str]]:
    mounted = lazy.stats()
    return {
        digest: [hex_part(Digest(chunk)) for chunk in lazy.chunks_read(digest)]
        for digest in layers
        if digest in mounted
    }
