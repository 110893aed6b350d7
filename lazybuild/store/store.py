"""`Store`: everything that outlives a build, under one root. An OCI image layout on disk.

    oci-layout, index.json, blobs/sha256/HEX    an image layout that other tools can read
    meta.db                                     layers, cache records, memos, names (see `meta`)
    snapshots/ID/fs                             layers as directories, in overlay format
    chunks/, cache-mounts/                      caches
    places/HEX                                  where blobs lie that stay in files of the user's
    tmp/, leases/, locks/                       of living processes; `gc` sweeps the others'
    version                                     of this layout; a newer one is refused
    reserve                                     room for a prune when the disk is full
    boot, suspect                               after a power loss or a read error (see `boot`)

Opening costs a few milliseconds. Safe for several builds at once. A commit goes: blob (fsync,
rename, fsync), row, manifest blob, name; a crash between two leaves what nothing refers to.
"""

import os
import stat
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from lazybuild.errors import HostError, IntegrityError, ResourceError, UsageError
from lazybuild.oci import codec
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.oci.image import Index
from lazybuild.store import boot, disk, names, reserve
from lazybuild.store.blobs import Blobs
from lazybuild.store.chunks import Chunks
from lazybuild.store.lease import Leases
from lazybuild.store.meta import Meta
from lazybuild.store.scratch import Scratch

VERSION = 1
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
FOLDERS = (
    *("blobs", "blobs/sha256", "places", "chunks", "snapshots"),
    *("cache-mounts", "tmp", "leases", "locks"),
)
_FILES = ("oci-layout", "index.json", "version", "meta.db", "boot", "suspect", reserve.NAME)


class Store:
    """One store, opened. Close it, or use it as a context manager."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with disk.translated(root):
            _prepare(root)
            reserve.keep(root)
        self.locks = root / "locks"
        self.scratch = Scratch(root / "tmp")
        self.blobs = Blobs(root, self.locks, self.scratch)
        self.blobs.doubted = boot.doubted_since(root)
        self.chunks = Chunks(root / "chunks", self.locks)
        self.leases = Leases(root / "leases")
        fresh = not (root / "meta.db").exists()
        self.meta = _opened(root)
        if fresh:
            names.restore(self)
        with disk.translated(root):
            boot.notice(self)

    def doubt(self) -> None:
        """The disk can't be trusted: check each blob when it is next used, here and later."""
        with disk.tidying():
            (self.root / "suspect").touch(mode=0o600)
            self.blobs.doubted = boot.doubted_since(self.root)

    def snapshot_dir(self, layer_id: str) -> Path:
        """Where the directory of a layer is, when it has one."""
        return self.root / "snapshots" / layer_id / "fs"

    def lease(self, name: str) -> AbstractContextManager[None]:
        """Hold this while working: nothing made or looked up meanwhile is collected."""
        return self.leases.hold(name)

    def tag(self, name: str, descriptor: Descriptor) -> None:
        """Give an image a name, once all its blobs are here: first the row, then index.json."""
        for digest in self.closure([descriptor]):
            self.blobs.has(digest)  # keeps it from a collector that did not see the name yet
        self.meta.put_image(name, descriptor)
        names.write_index(self)

    def closure(self, descriptors: Iterable[Descriptor]) -> set[Digest]:
        """The digests of images and of all they hold, as far as their manifests are here."""
        found: set[Digest] = set()
        pending = list(descriptors)
        while pending:
            here = pending.pop()
            if here.digest not in found:
                found.add(here.digest)
                pending += self._children(here)
        return found

    def _children(self, descriptor: Descriptor) -> list[Descriptor]:
        if descriptor.media_type not in codec.MANIFEST_TYPES | codec.INDEX_TYPES:
            return []
        try:
            document = codec.parse_document(self.blobs.read(descriptor.digest))
        except (FileNotFoundError, IntegrityError):
            return []  # what can't be read leads nowhere
        if isinstance(document, Index):
            return list(document.manifests)
        return [document.config, *document.layers]

    def untag(self, name: str) -> bool:
        found = self.meta.delete_image(name)
        names.write_index(self)
        return found

    def close(self) -> None:
        self.meta.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _opened(root: Path) -> Meta:
    """The database. Without room it can't be opened, and blames anything but that."""
    try:
        return Meta(root / "meta.db")
    except HostError as error:
        if not disk.is_full(root):
            raise
        hint = "make room, or run `lazybuild prune --all`; --root moves the store"
        raise ResourceError(f"no space left at {root}: {error.message}", hint=hint) from error


def _prepare(root: Path) -> None:
    try:
        _check_version(root, (root / "version").read_text())
    except FileNotFoundError:
        _create(root)
    except NotADirectoryError as error:
        raise UsageError(f"the store {root} is not a directory") from error
    for folder in FOLDERS:
        if not (root / folder).is_dir():
            (root / folder).mkdir(mode=0o700, exist_ok=True)
    status = root.stat()
    if status.st_uid != os.geteuid():
        raise HostError(f"the store {root} belongs to user {status.st_uid}", hint="give --root")
    if stat.S_IMODE(status.st_mode) & 0o022:
        raise HostError(f"others may write to the store {root}", hint=f"chmod 700 {root}")


def _check_version(root: Path, text: str) -> None:
    version = text.strip()
    if not version.isdecimal() or int(version[:9]) > VERSION:
        raise HostError(
            f"the store {root} has version {version[:20]!r}, this lazybuild knows {VERSION}",
            hint="use a newer lazybuild, or another --root",
        )


def _create(root: Path) -> None:
    """Make a store of an empty directory, or end what another process or a crash began."""
    root.mkdir(parents=True, mode=0o700, exist_ok=True)
    foreign = sorted(path.name for path in root.iterdir() if not _is_ours(path.name))
    if foreign:
        raise UsageError(
            f"{root} is not a lazybuild store, it holds {', '.join(foreign[:3])}",
            hint="name an empty directory, or a new one",
        )
    disk.write_new(root / "oci-layout", LAYOUT)
    disk.write_new(root / "index.json", names.EMPTY_INDEX)
    disk.write_new(root / "version", b"%d\n" % VERSION)


def _is_ours(name: str) -> bool:
    return name in FOLDERS or name.startswith((*_FILES, *(f".{file}-" for file in _FILES)))
