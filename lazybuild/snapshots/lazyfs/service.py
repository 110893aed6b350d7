"""What the daemon does when it is asked: adds layers, prefetches, counts. Knows no socket.

Owns the mounts (one for layers without extended attributes, where the kernel need not ask for
them, and one for the others), the reader, the prefetcher and the layers by digest. The registry
room is loaded in the background when the first mount stands. Methods may block on the network.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lazybuild.errors import LazybuildError, UsageError
from lazybuild.events import Event, Noted, Warned
from lazybuild.linux import syscalls
from lazybuild.linux.shortage import begun
from lazybuild.oci import digest as oci_digest
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import Digest, hex_part
from lazybuild.snapshots.lazyfs import blobmap, messages
from lazybuild.snapshots.lazyfs.cache import open_cache
from lazybuild.snapshots.lazyfs.fetchlog import FetchLog, Logged
from lazybuild.snapshots.lazyfs.flight import BlobLocks
from lazybuild.snapshots.lazyfs.fuse import Hooks, OnFailure, Server, open_and_mount
from lazybuild.snapshots.lazyfs.layer import LazyLayer, Source, Why
from lazybuild.snapshots.lazyfs.opening import open_tree
from lazybuild.snapshots.lazyfs.plan import prefetch_end
from lazybuild.snapshots.lazyfs.prefetch import Prefetcher
from lazybuild.snapshots.lazyfs.reader import ChunkReader
from lazybuild.snapshots.lazyfs.source import FileSource
from lazybuild.snapshots.lazyfs.speculate import Speculator
from lazybuild.snapshots.lazyfs.view import View
from lazybuild.store import Place, Store

if TYPE_CHECKING:
    from lazybuild.registry.client import Registry

_PLAIN, _WITH_XATTRS = "p", "x"
WHOLE_SHARE = 0.6
WARM = 4
_GUESSED_FROM = (Why.ASKED, Why.AHEAD, Why.EXPECTED, Why.SPECULATION, Why.LATER)


class Service:
    """One lazy file system."""

    def __init__(
        self, start: messages.Start, on_failure: OnFailure, note: Callable[[str], None]
    ) -> None:
        self._mountpoint, self._store = Path(start.mountpoint), Path(start.store)
        self._config = start.registry
        self._on_failure = on_failure
        self._note = note
        self.reader = ChunkReader(open_cache(self._store))
        self._prefetcher = Prefetcher(self.reader)
        self._speculator = Speculator(self.reader, self._prefetcher)
        self._view = View()
        self._lock = threading.Lock()
        self._layers: dict[str, LazyLayer] = {}
        self._paths: dict[str, str] = {}
        self._servers: dict[str, Server] = {}
        self._warmed: set[tuple[str, ...]] = set()
        self._registry: Registry | None = None
        self._registry_lock = threading.Lock()
        self._server(_PLAIN)
        begun(threading.Thread(target=self._connect, name="lazyfs-registry", daemon=True))

    def close(self) -> None:
        self._prefetcher.close()
        with self._lock:
            for name, server in self._servers.items():
                with contextlib.suppress(OSError):
                    syscalls.umount(self._mountpoint / name, syscalls.MNT_DETACH)
                server.close()
            self._servers.clear()

    # layers

    def add(self, ask: messages.Add) -> tuple[str, str]:
        """(folder, "") or ("", the reason why the layer can't be lazy)."""
        digest = oci_digest.parse(ask.digest)
        with self._lock:
            if ask.digest in self._paths:
                return self._paths[ask.digest], ""
        source = self._source(ask, digest)
        if not ask.blob:
            self._warm_up(source)
        log = FetchLog()
        tree, reason = open_tree(
            source if ask.blob else Logged(source, log, "toc"),
            ask.annotations,
            ask.toc_digest,
            unverified=ask.digest if ask.unverified else "",
            external=Path(ask.toc).read_bytes() if ask.toc else b"",
        )
        if tree is None:
            return "", reason
        local = bool(ask.blob)
        layer = LazyLayer(
            digest=digest,
            tree=tree,
            source=source,
            cached=not local,
            log=log,
            locks=BlobLocks(self._store / "locks" / "fetch", digest),
        )
        return self._show(layer), ""

    def _warm_up(self, source: Source) -> None:
        """Open connections while the first TOC is on its way: each costs a read several trips."""
        with self._lock:
            cold = source.hosts[:1] not in self._warmed
            self._warmed.add(source.hosts[:1])
        for number in range(WARM if cold else 0):
            args = (source, number)
            begun(threading.Thread(target=_touch, args=args, name="lazyfs-warm", daemon=True))

    def _show(self, layer: LazyLayer) -> str:
        kind = _WITH_XATTRS if layer.tree.has_xattrs or self._view.one_id else _PLAIN
        self._server(kind)
        name = hex_part(layer.digest)
        with self._lock:
            if layer.digest not in self._layers:
                self._layers[layer.digest] = layer
                self._view.add(name, layer)
                self._paths[layer.digest] = str(self._mountpoint / kind / name)
            return self._paths[layer.digest]

    def _source(self, ask: messages.Add, digest: Digest) -> Source:
        if ask.blob:
            return FileSource(Place(path=ask.blob, offset=ask.offset, size=ask.length))
        descriptor = Descriptor(
            media_type=ask.media_type,
            digest=digest,
            size=ask.size,
            annotations=ask.annotations,
        )
        return self._connect().ranges(ask.origins, descriptor)

    def _server(self, name: str) -> None:
        with self._lock:
            if name in self._servers:
                return
            target = self._mountpoint / name
            target.mkdir(parents=True, exist_ok=True)
            server = Server(
                open_and_mount(target),
                self._view,
                self.reader,
                xattrs=name == _WITH_XATTRS,
                hooks=Hooks(
                    failed=self._on_failure,
                    first_read=self._first_read,
                    fetched=self._after_fetch,
                ),
            )
            server.start()
            self._servers[name] = server

    def _connect(self) -> "Registry":
        with self._registry_lock:
            if self._registry is None:
                from lazybuild.registry.client import Registry  # noqa: PLC0415  slow to load
                from lazybuild.registry.config import RegistryConfig  # noqa: PLC0415  likewise

                config = RegistryConfig.from_json(self._config)
                self._registry = Registry(config, self._tell)
            return self._registry

    def _tell(self, event: Event) -> None:
        """What the registry room says on the way: whom it waits for, what it can't do lazily."""
        if isinstance(event, Noted | Warned):
            self._note(event.message)

    def _layer(self, digest: str) -> LazyLayer:
        layer = self._layers.get(digest)
        if layer is None:
            raise UsageError(f"layer {digest} is not mounted")
        return layer

    # fetching ahead

    def prefetch(self, ask: messages.Prefetch) -> int:
        layer = self._layer(ask.digest)
        if layer.cached:
            self._speculator.expect(layer, ask.steps)
        why = Why.FILL if ask.everything else Why.PREFETCH
        return self._prefetcher.want(layer, _wanted(layer, ask), why, later=ask.later)

    def settle(self, seconds: float) -> bool:
        return self._prefetcher.wait(seconds)

    def probe(self, digest: str) -> None:
        layer = self._layer(digest)
        if layer.source.size:
            layer.source.reread_at(0, 1)

    def _first_read(self, layer: LazyLayer, ino: int) -> None:
        """A file is read for the first time: guess what will be needed with it, if that is far."""
        chunks = layer.tree.file_chunks(ino)
        if chunks and layer.cached and layer.why[chunks[0]] in _GUESSED_FROM:
            self._speculator.consider(layer, ino)

    def _after_fetch(self, layer: LazyLayer, ino: int) -> None:
        """A read had to wait for the network: see what can be learned from that."""
        if not layer.cached:
            return
        self._speculator.consider(layer, ino)
        self._speculator.go_on(layer, ino)
        if not layer.filling and layer.figures.bytes_fetched > layer.source.size * WHOLE_SHARE:
            layer.filling = True
            self._prefetcher.want(layer, range(len(layer.tree.chunks)), Why.FILL)

    def whole(self, digest: str) -> str:
        """The blob as a file in the store, fetched unless it is one already."""
        layer = self._layer(digest)
        blobs = Store(self._store).blobs
        if not blobs.has(layer.digest):
            with blobs.ingest() as ingest:
                for block in self._blocks(layer):
                    ingest.write(block)
                ingest.commit(layer.digest)
        place = blobs.place(layer.digest)
        layer.source = FileSource(place)
        return place.path

    def _blocks(self, layer: LazyLayer) -> Iterator[bytes]:
        from lazybuild.registry import fetch  # noqa: PLC0415  few builds need it

        descriptor = Descriptor(media_type="", digest=layer.digest, size=layer.source.size)
        yield from fetch.stream(layer.source, descriptor)

    # figures

    def chunks_read(self, digest: str) -> tuple[str, ...]:
        layer = self._layer(digest)
        return tuple(layer.chunk_digest(chunk) for chunk in list(layer.read_order))

    def journal(self, digest: str) -> messages.LayerJournal:
        layer = self._layer(digest)
        size, fetches = layer.source.size, layer.log.fetches
        cells = blobmap.draw(layer.parts(), size=size, count=blobmap.cells_for(size))
        left_out = layer.log.requests - len(fetches)
        return messages.LayerJournal(fetches=fetches, left_out=left_out, cells=cells)

    def stats(self) -> tuple[messages.LayerStats, ...]:
        return tuple(_stats(layer) for layer in list(self._layers.values()))

    def trace(self, start: int) -> tuple[tuple[str, str], ...]:
        return tuple(
            (layer.digest, layer.tree.path(ino).decode("utf-8", "surrogateescape"))
            for layer, ino in self._view.trace(start)
        )

    def oldest(self) -> float:
        return max((server.oldest() for server in self._servers.values()), default=0.0)


def _touch(source: Source, place: int) -> None:
    if place < source.size:
        with contextlib.suppress(LazybuildError):  # the TOC's own request tells what is wrong
            source.read_at(place, 1)


def _wanted(layer: LazyLayer, ask: messages.Prefetch) -> Iterator[int]:
    tree = layer.tree
    if ask.everything:
        yield from range(len(tree.chunks))
    if ask.landmark:
        yield from layer.order.before(prefetch_end(tree.landmark, layer.source.size))
    for name in ask.names:
        ino = tree.find(name.encode("utf-8", "surrogateescape"))
        if ino:
            yield from tree.file_chunks(ino)
    if ask.chunks:
        wanted = {bytes.fromhex(hex_part(oci_digest.parse(text))) for text in ask.chunks}
        yield from (c for c in range(len(tree.chunks)) if tree.chunks.digest_of(c) in wanted)


def _stats(layer: LazyLayer) -> messages.LayerStats:
    f = layer.figures
    return messages.LayerStats(
        digest=layer.digest,
        requests=f.requests,
        bytes_fetched=f.bytes_fetched,
        chunks=len(layer.tree.chunks),
        chunks_fetched=f.chunks_fetched,
        chunks_read=f.chunks_read,
        bytes_read=f.bytes_read,
        refetched=f.refetched,
        fetched_for={why.name.lower(): size for why, size in f.fetched_for.items() if why},
        landmark=layer.tree.landmark,
        prefetch_end=prefetch_end(layer.tree.landmark, layer.source.size),
        used_of={why.name.lower(): size for why, size in f.used_of.items() if why},
    )
