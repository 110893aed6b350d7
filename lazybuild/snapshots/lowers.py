"""Where the lower directories of an overlay come from: the seam, and the eager way. An edge.

Eager: the whole blob is fetched as a stream, decompressed, checked and unpacked into the store,
once for all threads; of two processes the faster one wins. The lazy way is `lazyfs.client`.
"""

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Protocol

from lazybuild.errors import BuildError, IntegrityError
from lazybuild.estargz import tar
from lazybuild.estargz.ahead import ReadAhead
from lazybuild.estargz.entry import Item
from lazybuild.estargz.footer import LONGEST
from lazybuild.estargz.streams import Caps, decompress
from lazybuild.oci.digest import DiffID, Digest
from lazybuild.snapshots.unpack import unpack
from lazybuild.store import Layer, Store

_PIECE = 1 << 20

# The bytes of a layer's blob as they are, from wherever it is; not verified yet.
Fetch = Callable[[Layer], BinaryIO]


class LowerSource(Protocol):
    """Gives a directory that overlay can use as a lower, for a layer that has none of its own."""

    def path(self, layer: Layer) -> Path: ...

    def entries(self, layer: Layer) -> Iterator[Item]:
        """All that the layer's tar has, in its order, for those who can't mount anything."""
        ...


class EagerLower:
    """A `LowerSource` that unpacks. Safe in threads; needs the user namespace. `ended` is told of
    each layer that was unpacked, with the last bytes of its blob.
    """

    def __init__(
        self, store: Store, fetch: Fetch, ended: Callable[[Layer, bytes], None] | None = None
    ) -> None:
        self._store = store
        self._fetch = fetch
        self._ended = ended
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def path(self, layer: Layer) -> Path:
        with self._guard:
            lock = self._locks.setdefault(layer.id, threading.Lock())
        with lock:
            known = self._store.meta.layer(layer.id)
            if known is None or not known.directory:
                self._unpack(layer)
        return self._store.snapshot_dir(layer.id)

    def entries(self, layer: Layer) -> Iterator[Item]:
        """From the store, where the blob is kept for the next time."""
        if layer.descriptor is None:
            raise BuildError(f"layer {layer.id} has neither a directory nor a blob")
        self._keep(layer, layer.descriptor.digest)
        with (
            _named(layer.descriptor.digest),
            self._store.blobs.open(layer.descriptor.digest) as blob,
            ReadAhead(decompress(blob, Caps(ratio=1100))) as plain,
        ):
            yield from tar.read(plain)
            plain.drain()
        if layer.diff_id is not None:
            _check("content of layer", plain.digest, layer.diff_id)

    def _keep(self, layer: Layer, digest: Digest) -> None:
        with self._store.blobs.flight(digest):
            if self._store.blobs.has(digest):
                return
            with self._fetch(layer) as source, self._store.blobs.ingest() as ingest:
                while data := source.read(_PIECE):
                    ingest.write(data)
                ingest.commit(digest)

    def _unpack(self, layer: Layer) -> None:
        with self._store.scratch.directory("unpack") as home:
            target = home / "layer" / "fs"
            target.mkdir(parents=True, mode=0o755)
            diff_id, size = self._lay_out(layer, target)
            _publish(target.parent, self._store.snapshot_dir(layer.id).parent)
        self._store.meta.put_layer(
            replace(layer, directory=True, diff_id=diff_id, uncompressed_size=size)
        )

    def _lay_out(self, layer: Layer, target: Path) -> tuple[DiffID, int]:
        if layer.descriptor is None:
            raise BuildError(f"layer {layer.id} has neither a directory nor a blob")
        with _named(layer.descriptor.digest), self._fetch(layer) as blob:
            packed = _Hashed(blob)
            with ReadAhead(decompress(packed, Caps(ratio=1100))) as plain:
                unpack(tar.read(plain), target)
                plain.drain()
            packed.drain()
        _check("layer", packed.digest, layer.descriptor.digest)
        if layer.diff_id is not None:
            _check("content of layer", plain.digest, layer.diff_id)
        if self._ended is not None:
            self._ended(layer, packed.tail)
        return DiffID(plain.digest), plain.count


@contextmanager
def _named(digest: Digest) -> Iterator[None]:
    """What is wrong in a layer says in which one."""
    try:
        yield
    except IntegrityError as error:
        if digest in error.message:
            raise
        raise IntegrityError(f"layer {digest}: {error.message}", hint=error.hint) from error


def _check(what: str, actual: str, expected: str) -> None:
    if actual != expected:
        raise IntegrityError(f"{what} {expected} is {actual}")


def _publish(work: Path, target: Path) -> None:
    """Make the finished directory appear; another process may have been faster."""
    try:
        work.rename(target)
    except OSError:
        if not (target / "fs").is_dir():
            raise


class _Hashed(io.BufferedIOBase, BinaryIO):
    """A stream with the digest and the end of what went through it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._total = hashlib.sha256()
        self.tail = b""

    @property
    def digest(self) -> str:
        return "sha256:" + self._total.hexdigest()

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        data = self._stream.read(-1 if size is None else size)
        self._total.update(data)
        if data:
            self.tail = (self.tail + data[-LONGEST:])[-LONGEST:]
        return data

    read1 = read

    def drain(self) -> None:
        while self.read(_PIECE):
            pass
