"""Sees which files steps use, and keeps it by layer in the store: the material of the order.

Lazy layers tell it themselves (first reads in the FUSE daemon); for all others the root of the step
is watched. What one build saw the next ones know, as long as the layer is kept.
"""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lazybuild.build.accesses import Accesses
from lazybuild.build.ahead import Ahead
from lazybuild.build.space import Space
from lazybuild.build.traced import TracedLayers
from lazybuild.events import Noted
from lazybuild.llb.graph import Vertex, walk
from lazybuild.oci.digest import Digest
from lazybuild.snapshots.lazyfs.trace import OpenTrace
from lazybuild.snapshots.manager import Snapshots
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.store import Store

MEMO = "used"
MAX_NAMES = 20_000


class Uses:
    """Names of files by layer id, in the order of their first use, in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()

    def of(self, layer_id: str) -> list[str]:
        return [str(name) for name in json.loads(self._store.meta.memo_get(MEMO, layer_id) or "[]")]

    def add(self, layer_id: str, names: list[str]) -> None:
        with self._lock:
            known = dict.fromkeys(self.of(layer_id))
            wanted = [name for name in dict.fromkeys(names) if name not in known]
            if wanted and len(known) < MAX_NAMES:
                text = json.dumps([*known, *wanted][:MAX_NAMES])
                self._store.meta.memo_put(MEMO, layer_id, text)


class Trace:
    """The `Tracer` of a build; `settle` it when the solve has ended. `ordered` sorts what one step
    used by name: the set of files that a step uses is the same each time, their order among
    parallel processes need not be.
    """

    def __init__(
        self,
        space: Space,
        snapshots: Snapshots,
        accesses: Accesses,
        ahead: Ahead,
        *,
        ordered: bool,
        begun: Callable[[], None],
        bases: bool = False,
    ) -> None:
        self._space = space
        self._snapshots = snapshots
        self._accesses = accesses
        self._ahead = ahead
        self.ordered = ordered
        self._begun = begun
        self._traced = TracedLayers(space, snapshots, bases=bases)
        self._lock = threading.Lock()
        self._seen: dict[int, int] = {}  # by the daemon that counts
        self._mounted: defaultdict[Digest, set[str]] = defaultdict(set)  # layer ids by their blobs
        self._told: set[str] = set()
        self._found: list[tuple[str, str, list[str]]] = []  # by which step, in which layer
        self.uses = Uses(space.store)

    @contextmanager
    def watch(self, vertex: Vertex, snapshot: Snapshot, merged: Path) -> Iterator[None]:
        self._begun()
        distant = self._distant(snapshot)
        self._note(snapshot)
        self._ahead.before(vertex, distant)
        with (
            self._accesses.watch(vertex, distant),
            OpenTrace(merged, self._traced.of(snapshot)) as opened,
        ):
            yield
            found = opened.stop()
        self._say_what_is_lacking(vertex, opened.lacking)
        by_layer: defaultdict[str, list[str]] = defaultdict(list)
        for layer_id, name in [*found, *self._read_lazily()]:
            by_layer[layer_id].append(name)
        if self._space.copies() is not None and self._ahead.reads(vertex) is None:
            self._accesses.guess(vertex, self._snapshots, by_layer)
        with self._lock:
            self._found += [
                (vertex.digest, layer_id, names) for layer_id, names in by_layer.items()
            ]

    def settle(self, heads: Sequence[Vertex]) -> None:
        """Keep what was seen, in the order of the steps in the graphs: which of two steps at once
        ends first must not decide about bytes.
        """
        vertices = dict.fromkeys(vertex.digest for head in heads for vertex in walk(head))
        places = {digest: number for number, digest in enumerate(vertices)}
        with self._lock:
            found, self._found = self._found, []
        for _, layer_id, names in sorted(found, key=lambda seen: places.get(seen[0], -1)):
            self.uses.add(layer_id, sorted(names) if self.ordered else names)

    def _say_what_is_lacking(self, vertex: Vertex, why: str) -> None:
        """Each reason once: it is the host's."""
        with self._lock:
            new = bool(why) and why not in self._told
            self._told.add(why)
        if new:
            text = f"not all files that {vertex.name} opens were seen, so some are not in order"
            self._space.sink(Noted(message=f"{text}: {why}"))

    def _note(self, snapshot: Snapshot) -> None:
        """Builds at once may make the same blob, each as a layer of its own."""
        for layer in map(self._snapshots.layer, snapshot.layers):
            if layer.descriptor is not None:
                with self._lock:
                    self._mounted[layer.descriptor.digest].add(layer.id)

    def _distant(self, snapshot: Snapshot) -> list[Digest]:
        """Layers whose blobs are at a registry only."""
        blobs = self._space.store.blobs
        layers = [self._snapshots.layer(layer_id) for layer_id in snapshot.layers]
        return [
            layer.descriptor.digest
            for layer in layers
            if layer.descriptor and layer.origins and not blobs.has(layer.descriptor.digest)
        ]

    def _read_lazily(self) -> list[tuple[str, str]]:
        """(layer id, name) of first reads since the last look."""
        lazy = self._space.lazy_if_started()
        if lazy is None:
            return []
        with self._lock:
            start = self._seen.get(lazy.pid, 0)
            found = lazy.trace(start)
            self._seen[lazy.pid] = start + len(found)
            return [
                (layer_id, name)
                for digest, name in found
                for layer_id in self._mounted[Digest(digest)]
            ]
