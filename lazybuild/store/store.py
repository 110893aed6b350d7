"""`Store`: everything that outlives a build, under one root. An OCI image layout on disk.

    oci-layout, index.json, blobs/sha256/HEX    an image layout that other tools can read
    meta.db                                     layers, cache records, memos, names (see `meta`)
    snapshots/ID/fs                             layers as directories, in overlay format
    chunks/, cache-mounts/, tmp/, locks/        caches, work in progress, locks

Opening costs a few milliseconds. Safe for several builds at once.
"""

import os
import stat
from pathlib import Path
from typing import Self

from lazybuild.errors import HostError
from lazybuild.oci.descriptor import Descriptor
from lazybuild.store import disk, names
from lazybuild.store.blobs import Blobs
from lazybuild.store.chunks import Chunks
from lazybuild.store.meta import Meta
from lazybuild.store.scratch import Scratch

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
FOLDERS = ("blobs", "blobs/sha256", "chunks", "snapshots", "cache-mounts", "tmp", "locks")


class Store:
    """One store, opened. Close it, or use it as a context manager."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with disk.translated(root):
            _prepare(root)
        self.locks = root / "locks"
        self.scratch = Scratch(root / "tmp")
        self.blobs = Blobs(root, self.locks, self.scratch)
        self.chunks = Chunks(root / "chunks", self.locks)
        self.meta = Meta(root / "meta.db")

    def snapshot_dir(self, layer_id: str) -> Path:
        """Where the directory of a layer is, when it has one."""
        return self.root / "snapshots" / layer_id / "fs"

    def tag(self, name: str, descriptor: Descriptor) -> None:
        """Give an image a name, once all its blobs are here: first the row, then index.json."""
        self.meta.put_image(name, descriptor)
        names.write_index(self)

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


def _prepare(root: Path) -> None:
    if not (root / "locks").is_dir():
        root.mkdir(parents=True, mode=0o700, exist_ok=True)
        for folder in FOLDERS:
            (root / folder).mkdir(mode=0o700, exist_ok=True)
        disk.write_new(root / "oci-layout", LAYOUT)
        disk.write_new(root / "index.json", names.EMPTY_INDEX)
    status = os.stat(root)  # noqa: PTH116 - of the directory that is used, links followed
    if status.st_uid != os.geteuid():
        raise HostError(f"the store {root} belongs to user {status.st_uid}", hint="give --root")
    if stat.S_IMODE(status.st_mode) & 0o022:
        raise HostError(f"others may write to the store {root}", hint=f"chmod 700 {root}")
