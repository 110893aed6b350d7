"""A directory that is an OCI image layout, as a cache uses it: read with suspicion, pruned when
written.

Source: OCI image spec, image-layout.md. Knows nothing of cache records.
"""

import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Self

from lazybuild.errors import IntegrityError, UsageError
from lazybuild.exporters import archive
from lazybuild.exporters.base import ImageBlob
from lazybuild.exporters.destination import destination
from lazybuild.oci import codec
from lazybuild.oci import digest as digests
from lazybuild.oci.descriptor import OCI_MANIFEST, Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.oci.image import Index

REF_NAME = "org.opencontainers.image.ref.name"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_PIECE = 1 << 20


class Layout:
    """One directory. Writers wait for one another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    # --- reading ---------------------------------------------------------------------------------

    def manifest(self, tag: str, digest: str = "") -> bytes:
        """The manifest with a tag, or with a digest when one is given."""
        for entry in self._index().manifests:
            if entry.digest == digest if digest else entry.annotations.get(REF_NAME) == tag:
                return self.read(entry.digest, codec.MAX_BYTES)
        raise IntegrityError(f"{self._folder}: no cache {digest or tag!r} in it")

    def read(self, digest: Digest, limit: int) -> bytes:
        data = _read(self._path(digest), limit)
        if digests.of(data) != digest:
            raise IntegrityError(f"{self._folder}: blob {digest} is damaged")
        return data

    def copy(self, descriptor: Descriptor, write: Callable[[bytes], object]) -> None:
        """A blob, no more of it than its descriptor says; the taker checks the digest."""
        left = descriptor.size
        with _opened(self._path(descriptor.digest)) as fd:
            while left and (piece := os.read(fd, min(left, _PIECE))):
                write(piece)
                left -= len(piece)

    def tagged(self, tag: str) -> Digest | None:
        """What an entry of the index is, if there is one of this tag."""
        if not (self._folder / "index.json").exists():
            return None
        entries = self._index().manifests
        return next((e.digest for e in entries if e.annotations.get(REF_NAME) == tag), None)

    def size(self, digest: Digest) -> int | None:
        path = self._path(digest)
        return path.stat().st_size if path.is_file() else None

    def open(self, digest: Digest) -> BinaryIO:
        with _opened(self._path(digest)) as fd:
            return os.fdopen(os.dup(fd), "rb")

    def _index(self) -> Index:
        return codec.parse_index(_read(self._folder / "index.json", codec.MAX_BYTES))

    def _path(self, digest: Digest) -> Path:
        return self._folder / "blobs" / "sha256" / digests.hex_part(digest)

    # --- writing ---------------------------------------------------------------------------------

    def write(self, manifest: bytes, config: bytes, blobs: Sequence[ImageBlob], tag: str) -> None:
        """Add a manifest under a tag; what no entry of the index needs any more is removed."""
        self._prepare()
        with self._locked():
            for blob in blobs:
                self._put(blob)
            for data in (config, manifest):
                self._put_bytes(self._path(digests.of(data)), data)
            index = self._with(tag, manifest)
            self._put_bytes(self._folder / "index.json", codec.encode(index))
            self._prune(index)

    def ingest(self) -> "Ingest":
        """A blob that comes in pieces, from somebody who writes an index of its own (`point`)."""
        self._prepare()
        return Ingest(self._folder / "blobs" / "sha256")

    def point(self, tag: str, entry: Descriptor) -> None:
        """Let a tag mean a blob that is there."""
        with self._locked():
            index = self._index_with(tag, replace(entry, annotations={REF_NAME: tag}))
            self._put_bytes(self._folder / "index.json", codec.encode(index))
            self._prune(index)

    def _prepare(self) -> None:
        here = self._folder
        if here.is_dir() and any(here.iterdir()) and not (here / "oci-layout").is_file():
            raise UsageError(f"{here} holds other things than a cache")
        try:
            (here / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"can't write {here}: {error.strerror}") from error
        self._put_bytes(here / "oci-layout", LAYOUT)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _put(self, blob: ImageBlob) -> None:
        path = self._path(blob.descriptor.digest)
        if path.is_file() and path.stat().st_size == blob.descriptor.size:
            return
        with destination(str(path)) as out:
            archive.copy_blob(blob, out)

    def _put_bytes(self, path: Path, data: bytes) -> None:
        with destination(str(path)) as out:
            out.write(data)

    def _with(self, tag: str, manifest: bytes) -> Index:
        entry = Descriptor(
            media_type=OCI_MANIFEST,
            digest=digests.of(manifest),
            size=len(manifest),
            annotations={REF_NAME: tag},
        )
        return self._index_with(tag, entry)

    def _index_with(self, tag: str, entry: Descriptor) -> Index:
        old = self._index() if (self._folder / "index.json").exists() else Index()
        kept = tuple(e for e in old.manifests if e.annotations.get(REF_NAME) != tag)
        return replace(old, manifests=(*kept, entry))

    def _prune(self, index: Index) -> None:
        """Only when every entry is a manifest that can be read is it known what is needed."""
        needed: set[str] = set()
        for entry in index.manifests:
            try:
                found = codec.parse_document(self.read(entry.digest, codec.MAX_BYTES))
            except IntegrityError:
                return
            if isinstance(found, Index):
                return
            needed |= {entry.digest, found.config.digest, *(item.digest for item in found.layers)}
        for path in (self._folder / "blobs" / "sha256").iterdir():
            if digests.is_valid(f"sha256:{path.name}") and f"sha256:{path.name}" not in needed:
                path.unlink(missing_ok=True)


class Ingest:
    """A blob being written; leaving the block without `commit` drops it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = tempfile.NamedTemporaryFile(dir=folder, prefix=".ingest-")  # noqa: SIM115 - closed by __exit__
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> object:
        self._hash.update(data)
        return self._file.write(data)

    def commit(self, expected: Digest | None = None) -> object:
        actual = f"sha256:{self._hash.hexdigest()}"
        if expected is not None and actual != expected:
            raise IntegrityError(f"{self._folder}: {expected} is {actual}")
        self._file.flush()
        os.fchmod(self._file.fileno(), 0o644)
        target = self._folder / actual.partition(":")[2]
        os.fsync(self._file.fileno())
        with suppress(FileExistsError):
            os.link(self._file.name, target)
        return actual


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise IntegrityError(f"{path}: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise IntegrityError(f"{path} is not a regular file")
        yield fd
    finally:
        os.close(fd)


def _read(path: Path, limit: int) -> bytes:
    with _opened(path) as fd, os.fdopen(os.dup(fd), "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise IntegrityError(f"{path} is larger than {limit >> 20} MiB")
    return data
