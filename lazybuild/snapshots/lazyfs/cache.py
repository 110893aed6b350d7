"""The store's chunk cache as the reader wants it: `has`, and a `get` of few system calls.

The layout and the rules are `store.chunks`'s: a file named by the digest, verified on every read,
younger than it was when it has been used. Whatever is not as expected is left to it.
"""

import hashlib
import os
import time
from pathlib import Path

from lazybuild.oci.digest import Digest
from lazybuild.store.chunks import Chunks

_RENEW_AFTER = 3600.0


class DiskCache:
    """A `ChunkCache` over `store.chunks.Chunks`."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._root = str(chunks.path(Digest("sha256:" + "00" * 32)).parent.parent)

    def has(self, digest: Digest) -> bool:
        return os.path.exists(self._path(digest))

    def get(self, digest: Digest, size: int) -> bytes | None:
        try:
            fd = os.open(self._path(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            data = os.read(fd, size + 1)
            used = os.fstat(fd).st_mtime
        finally:
            os.close(fd)
        if hashlib.sha256(data).hexdigest() != digest[7:] or time.time() - used > _RENEW_AFTER:
            return self._chunks.get(digest, size)
        return data

    def put(self, digest: Digest, data: bytes) -> None:
        self._chunks.put(digest, data)  # False is no loss: the reader holds the bytes in memory

    def _path(self, digest: Digest) -> str:
        return f"{self._root}/{digest[7:9]}/{digest[7:]}"


def open_cache(store: Path) -> DiskCache:
    return DiskCache(Chunks(store / "chunks", store / "locks"))
