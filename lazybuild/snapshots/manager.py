"""Snapshots: stacks of layers as trees, as mounts, and as the blobs they are shipped in. An edge.

A layer is known by its id; it has a directory (`snapshots/<id>/fs` in the store, overlay format), a
blob (in the store or at a registry), or both. Trees and new blobs need no namespace; mounts and
directories do. All methods are safe in threads.
"""

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lazybuild.errors import BuildError
from lazybuild.estargz.earlier import Earlier
from lazybuild.estargz.entry import Item
from lazybuild.estargz.reader import open_toc, read_chunk
from lazybuild.estargz.toc import Chunk, Toc
from lazybuild.estargz.writer import (
    NotUtf8Error,
    WriterOptions,
    Written,
    made_by,
    write_layer,
    write_plain,
)
from lazybuild.events import Sink, Warned, discard
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.oci.ranges import RangeReader
from lazybuild.snapshots import steps
from lazybuild.snapshots.copies import CopiedStep, Copies
from lazybuild.snapshots.diff import layer_items
from lazybuild.snapshots.dirtree import DirTree
from lazybuild.snapshots.lowers import LowerSource
from lazybuild.snapshots.merged import MergedTree
from lazybuild.snapshots.recovery import recover
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.snapshots.toctree import TocTree
from lazybuild.snapshots.tree import LayerTree, Tree
from lazybuild.store import Layer, Store
from lazybuild.store.remove import remove_tree

PARALLEL = 4  # layers that are made ready at a time
HOT = "hot"  # the memo of what a blob was written with
EARLIER = "earlier"  # the memo of the last layer that a step made, and of what compressed it

# Random access to a layer's blob, wherever it is.
RangesOf = Callable[[Layer], RangeReader]


# Where a layer is mounted, if it is.
FolderOf = Callable[[Layer], Path | None]


def anywhere() -> None:
    """Directories of layers may be looked at here."""


# Trees for steps where layers can't be stacked; None where they can.
CopiesOf = Callable[[], Copies | None]


def stacked() -> None:
    """Overlay works here."""


def no_folder(layer: Layer) -> Path | None:
    del layer
    return None


class Snapshots:
    """The layers of one store. `lower` gives directories for layers that have none; `folder` one
    where a layer is mounted already or can be at once, so that its TOC is not read here too.
    """

    def __init__(
        self,
        store: Store,
        lower: LowerSource,
        ranges: RangesOf,
        *,
        folder: FolderOf = no_folder,
        look: Callable[[], None] = anywhere,
        copies: CopiesOf = stacked,
        sink: Sink = discard,
    ) -> None:
        self._store = store
        self._lower = lower
        self._ranges = ranges
        self._folder = folder
        self._look = look
        self._copies = copies
        self._sink = sink
        self._trees: dict[str, LayerTree] = {}
        self._mounted: set[str] = set()
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        recover(store)

    # --- looking ---------------------------------------------------------------------------------

    def tree(self, snapshot: Snapshot) -> Tree:
        """The files of a snapshot; nothing is mounted for it. Layers are opened in parallel."""
        closed = set(snapshot.layers) - self._trees.keys()
        if len(closed) > 1:
            with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
                list(pool.map(self.layer_tree, closed))
        return MergedTree([self.layer_tree(layer) for layer in snapshot.layers])

    def layer_tree(self, layer_id: str) -> LayerTree:
        """The files of one layer. Layers don't change, so each is opened once."""
        with self._lock(layer_id):
            known = self._trees.get(layer_id)
            if known is None:
                known = self._trees[layer_id] = self._opened(self.layer(layer_id))
        return known

    def layer(self, layer_id: str) -> Layer:
        found = self._store.meta.layer(layer_id)
        if found is None:
            raise BuildError(f"layer {layer_id} is no longer in the store")
        return found

    def forget_mounted(self) -> None:
        """Look anew at layers that were seen through their mounts: those are gone."""
        for layer_id in list(self._mounted):
            with self._lock(layer_id):
                self._mounted.discard(layer_id)
                self._trees.pop(layer_id, None)

    def _opened(self, layer: Layer) -> LayerTree:
        """By the TOC where the blob is near, else by a directory, else by the TOC from afar."""
        if not self._is_near(layer):
            if layer.directory:
                return self._directory_tree(layer)
            folder = self._folder(layer)
            if folder is not None:
                self._mounted.add(layer.id)
                return DirTree(folder)
        toc = self._toc(layer)
        if toc is not None:
            return TocTree(toc, self._chunks(layer))
        if layer.directory:
            return self._directory_tree(layer)
        path = self._lower.path(layer)
        if path != self._store.snapshot_dir(layer.id):
            self._mounted.add(layer.id)
        return DirTree(path)

    def _directory_tree(self, layer: Layer) -> LayerTree:
        self._look()  # outside of the namespace its files would seem to be other people's
        return DirTree(self._store.snapshot_dir(layer.id))

    def _toc(self, layer: Layer) -> Toc | None:
        if not layer.toc_digest or layer.descriptor is None:
            return None
        found = open_toc(self._ranges(layer), layer.descriptor.annotations)
        return found.verify(layer.toc_digest) if found else None

    def _chunks(self, layer: Layer) -> Callable[[Chunk], bytes]:
        ranges, near = self._ranges(layer), self._is_near(layer)

        def read(chunk: Chunk) -> bytes:
            if near:
                return read_chunk(ranges, chunk)
            kept = self._store.chunks.get(Digest(chunk.digest), chunk.size)
            if kept is None:
                kept = read_chunk(ranges, chunk)
                self._store.chunks.put(Digest(chunk.digest), kept)
            return kept

        return read

    def _is_near(self, layer: Layer) -> bool:
        return layer.descriptor is not None and self._store.blobs.has(layer.descriptor.digest)

    # --- mounting --------------------------------------------------------------------------------

    @contextmanager
    def mount(self, snapshot: Snapshot) -> Iterator[steps.Running]:
        """The snapshot, writable, for one step; `commit` of the step keeps what it wrote."""
        copies = self._copies()
        if copies is not None:
            with self._copied(copies, snapshot) as copied:
                yield copied
            return
        lowers = self.lowers(snapshot)
        with (
            self._store.scratch.directory("step") as home,
            steps.prepared(lowers, home, self._publish) as step,
        ):
            yield step

    @contextmanager
    def view(self, snapshot: Snapshot) -> Iterator[Path]:
        """The snapshot, read-only where mounts can be."""
        copies = self._copies()
        if copies is not None:
            copy = copies.take(snapshot.layers, self._items)
            try:
                yield copy.path
            finally:
                copies.give_back(snapshot.layers, copy)
            return
        lowers = self.lowers(snapshot)
        with (
            self._store.scratch.directory("view") as home,
            steps.viewed(lowers, home) as merged,
        ):
            yield merged

    @contextmanager
    def _copied(self, copies: Copies, snapshot: Snapshot) -> Iterator[CopiedStep]:
        """The tree serves the next step if this one is kept, and goes otherwise."""
        copy = copies.take(snapshot.layers, self._items)
        step = CopiedStep(copy=copy, publish=self._from_tree)
        try:
            yield step
        except BaseException:
            copy.close()
            raise
        if step.result:
            copies.keep(snapshot.over(step.result).layers, copy)
        else:
            copy.close()

    def _items(self, layer_id: str) -> Iterator[Item]:
        """All of a layer, bytes included."""
        layer = self.layer(layer_id)
        if layer.directory:
            return layer_items(self._directory_tree(layer), self._note)
        return self._lower.entries(layer)

    def _from_tree(self, tree: LayerTree) -> str:
        return self.add_layer(layer_items(tree, self._note))

    def lowers(self, snapshot: Snapshot) -> Sequence[Path]:
        """A directory for each layer, bottom first; those without one get theirs in parallel.

        Overlay refuses the same directory twice (ELOOP). Of a layer that occurs more than once the
        topmost place alone counts: there it shows and hides all that it did further down.
        """
        topmost = dict.fromkeys(reversed(snapshot.layers))
        layers = [self.layer(layer_id) for layer_id in reversed(topmost)]
        if sum(not layer.directory for layer in layers) <= 1:
            return [self._lower_path(layer) for layer in layers]
        with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
            return list(pool.map(self._lower_path, layers))

    def _lower_path(self, layer: Layer) -> Path:
        if layer.directory:
            return self._store.snapshot_dir(layer.id)
        return self._lower.path(layer)

    # --- making ----------------------------------------------------------------------------------

    def _publish(self, home: Path) -> str:
        """Take a finished directory (with the layer in `fs`) into the store: rename, then row."""
        layer_id = secrets.token_hex(16)
        home.rename(self._store.snapshot_dir(layer_id).parent)
        self._store.meta.put_layer(_layer(layer_id, directory=True))
        return layer_id

    def add_layer(
        self,
        items: Iterable[Item],
        hot: Sequence[str] = (),
        options: WriterOptions | None = None,
        *,
        lineage: str = "",
    ) -> str:
        """A layer that is made as a blob only, straight into the store, `hot` names first.

        What the last one of the same `lineage` has of it already is not made again.
        """
        chosen = options or WriterOptions()
        earlier = self._earlier(lineage)
        written, descriptor = self._write(list(items), hot, chosen, earlier)
        known = self._store.meta.layer_of(descriptor.digest, written.toc_digest or None)
        layer_id = known.id if known else secrets.token_hex(16)
        if known is None:
            self._store.meta.put_layer(_with_blob(_layer(layer_id), written, descriptor))
            self._remember(layer_id, hot)
        if lineage:
            self._store.meta.memo_put(EARLIER, lineage, f"{layer_id} {made_by(chosen)}")
        return layer_id

    def _earlier(self, lineage: str) -> Earlier | None:
        """The members of the last layer of a lineage, if its blob is still here."""
        layer_id, _, made = (self._store.meta.memo_get(EARLIER, lineage) or "").partition(" ")
        layer = self._store.meta.layer(layer_id) if made else None
        if layer is None or layer.descriptor is None or not self._is_near(layer):
            return None
        toc, digest = self._toc(layer), layer.descriptor.digest
        return Earlier(self._ranges(layer), toc, made, digest) if toc else None

    def write_blob(
        self,
        layer_id: str,
        hot: Sequence[str] = (),
        options: WriterOptions | None = None,
    ) -> Descriptor:
        """The blob of a layer, written if there is none yet, or none in the order of `hot`.

        An order is only ever given once: what later builds see does not change a layer again.
        """
        tree = self.layer_tree(layer_id)
        with self._lock(f"blob {layer_id}"):
            layer = self.layer(layer_id)
            if layer.descriptor is not None and (
                layer.ordered or not self._reorders(layer_id, hot)
            ):
                self._store.meta.put_layer(replace(layer, ordered=True))
                return layer.descriptor
            items = list(layer_items(tree, self._note))
            written, descriptor = self._write(items, hot, options or WriterOptions())
            done = _with_blob(layer, written, descriptor)
            self._store.meta.put_layer(replace(done, ordered=True))
            self._trees.pop(layer_id, None)
        return descriptor

    def _remember(self, layer_id: str, hot: Sequence[str]) -> None:
        self._store.meta.memo_put(HOT, layer_id, _fingerprint(hot))

    def _reorders(self, layer_id: str, hot: Sequence[str]) -> bool:
        """Whether writing the layer with these names first would change it."""
        known = self._store.meta.memo_get(HOT, layer_id)
        return known != _fingerprint(hot)

    def _write(
        self,
        items: Sequence[Item],
        hot: Sequence[str],
        options: WriterOptions,
        earlier: Earlier | None = None,
    ) -> tuple[Written, Descriptor]:
        with self._store.blobs.ingest() as ingest:
            try:
                written = write_layer(
                    items, ingest.write, hot=hot, options=options, earlier=earlier
                )
            except NotUtf8Error as error:
                self._sink(
                    Warned(message=f"{error.message}; the layer is plain gzip and can't be lazy")
                )
                written = write_plain(items, ingest.write, options=options)
            ingest.commit(written.digest)
        return written, _descriptor(written)

    def remove(self, layer_id: str) -> None:
        """Forget a layer and take its directory away; blobs are the store's to collect."""
        with self._lock(layer_id):
            self._trees.pop(layer_id, None)
        self._store.meta.delete_layer(layer_id)
        remove_tree(self._store.snapshot_dir(layer_id).parent)

    def _note(self, message: str) -> None:
        self._sink(Warned(message=message))

    def _lock(self, name: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(name, threading.Lock())


def _fingerprint(hot: Sequence[str]) -> str:
    names = "\0".join(hot).encode("utf-8", "surrogateescape")
    return hashlib.sha256(names).hexdigest()


def _layer(layer_id: str, *, directory: bool = False) -> Layer:
    return Layer(id=layer_id, directory=directory)


def _with_blob(layer: Layer, written: Written, descriptor: Descriptor) -> Layer:
    return replace(
        layer,
        descriptor=descriptor,
        diff_id=written.diff_id,
        toc_digest=written.toc_digest or None,
        uncompressed_size=written.uncompressed_size,
    )


def _descriptor(written: Written) -> Descriptor:
    return Descriptor(
        media_type=written.media_type,
        digest=written.digest,
        size=written.size,
        annotations=written.annotations,
    )
