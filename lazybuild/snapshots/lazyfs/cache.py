"""The store's chunk cache as the reader wants it: `has`, and a `get` of few system calls."""

import os
from pathlib import Path

from lazybuild.oci.digest import Digest
from lazybuild.store.chunks import Chunks


class DiskCache:
    """A `ChunkCache` over `store.chunks.Chunks`, whose promises it keeps."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks

    def has(self, digest: Digest) -> bool:
        return os.path.exists(self._chunks.path(digest))

    def get(self, digest: Digest, size: int) -> bytes | None:
        return self._chunks.get(digest, size)

    def put(self, digest: Digest, data: bytes) -> None:
        self._chunks.put(digest, data)  # False is no loss: the reader holds the bytes in memory


def open_cache(store: Path) -> DiskCache:
    return DiskCache(Chunks(store / "chunks", store / "locks"))
