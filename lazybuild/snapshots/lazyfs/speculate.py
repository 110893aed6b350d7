"""Guesses what a program will need next: its interpreter and libraries, or a script's interpreter.

When the first bytes of an ELF file had to be fetched, the loader is about to ask for its
interpreter and needed libraries, one round trip after the other. They are fetched at once instead,
from the same layer, and so are the libraries these need. Owns that decision, `elf` the parsing.
Whatever is odd about a file ends the guess and nothing else.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from lazybuild.errors import LazybuildError
from lazybuild.snapshots import elf
from lazybuild.snapshots.lazyfs.prefetch import Prefetcher
from lazybuild.snapshots.lazyfs.reader import ChunkReader, LazyLayer, Why

_FOLDERS = (
    "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu",
    "usr/lib/aarch64-linux-gnu", "lib64", "usr/lib64", "lib", "usr/lib", "usr/local/lib",
)  # fmt: skip
_LINKS_MAX = 8
_FILE_MAX = 8 << 20
"""Of a larger library only the first chunk is guessed at."""


class Speculator:
    """`consider` a file whose chunk was just fetched; each file is looked at once."""

    def __init__(self, reader: ChunkReader, prefetcher: Prefetcher) -> None:
        self._reader, self._prefetcher = reader, prefetcher
        self._lock = threading.Lock()
        self._known: set[tuple[str, int]] = set()
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="lazyfs-guess")

    def consider(self, layer: LazyLayer, ino: int) -> None:
        if layer.tree.size(ino) >= len(elf.MAGIC) and self._first_time(layer, ino):
            self._pool.submit(self._guess, layer, ino)

    def _first_time(self, layer: LazyLayer, ino: int) -> bool:
        with self._lock:
            known = (layer.digest, ino) in self._known
            self._known.add((layer.digest, ino))
            return not known

    def _guess(self, layer: LazyLayer, ino: int) -> None:
        try:
            names = list(self._needs(layer, ino))
        except LazybuildError:
            return  # an unreadable or broken file: whoever reads it will be told
        found = [other for name in names if name and (other := locate(layer, ino, name))]
        fresh = [other for other in found if self._first_time(layer, other)]
        chunks = [chunk for other in fresh for chunk in _first_chunks(layer, other)]
        self._prefetcher.want(layer, chunks, Why.SPECULATION)
        for other in fresh:
            self._pool.submit(self._guess, layer, other)

    def _needs(self, layer: LazyLayer, ino: int) -> Iterator[str]:
        found = elf.needs(lambda offset, size: self._bytes(layer, ino, offset, size))
        if found is None:
            return
        yield found.interpreter
        yield from found.libraries
        if found.interpreter.endswith("/env"):
            yield from (f"usr/bin/{name}" for name in found.libraries)

    def _bytes(self, layer: LazyLayer, ino: int, offset: int, size: int) -> bytes:
        parts = [
            self._reader.peek(layer, piece.chunk)[piece.start : piece.end]
            for piece in layer.tree.pieces(ino, offset, size)
        ]
        return b"".join(parts)


def _first_chunks(layer: LazyLayer, ino: int) -> Iterator[int]:
    chunks = layer.tree.file_chunks(ino)
    yield from chunks if layer.tree.size(ino) <= _FILE_MAX else chunks[:1]


def locate(layer: LazyLayer, user: int, name: str) -> int:
    """The regular file a path or a library's name means in this layer, 0 when it is not there."""
    if "/" in name:
        return _follow(layer, name)
    beside = layer.tree.path(user).rpartition(b"/")[0].decode("utf-8", "surrogateescape")
    for folder in (*_FOLDERS, beside):
        if found := _follow(layer, f"{folder}/{name}"):
            return found
    return 0


def _follow(layer: LazyLayer, path: str) -> int:
    """Walk a path with its symlinks, all inside the layer."""
    tree, links = layer.tree, 0
    todo = [part for part in reversed(path.encode("utf-8", "surrogateescape").split(b"/")) if part]
    trail = [1]
    while todo:
        part = todo.pop()
        if part in (b".", b".."):
            trail = trail[:-1] or [1] if part == b".." else trail
            continue
        ino = tree.lookup(trail[-1], part)
        target = tree.link(ino) if ino else b""
        links += bool(target)
        if not ino or links > _LINKS_MAX:
            return 0
        if target:
            trail = [1] if target.startswith(b"/") else trail
            todo += [part for part in reversed(target.split(b"/")) if part]
        else:
            trail.append(ino)
    return trail[-1] if tree.file_chunks(trail[-1]) else 0
