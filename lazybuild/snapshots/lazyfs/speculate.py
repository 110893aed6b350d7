"""Guesses what a program will need next: its interpreter and libraries, or a script's interpreter.

When the first bytes of an ELF file had to be fetched, the loader is about to ask for its
interpreter and needed libraries, one round trip after the other. They are fetched at once instead,
from the same layer, and so are the libraries these need. The same goes for what a Python module
imports, and for the rest of a program of which two pieces were read. What the commands of steps
name is fetched before they run. Owns these decisions; `elf`, `pyc` and `commands` the parsing.
Whatever is odd about a file ends the guess and nothing else.
"""

import stat
import threading
from collections.abc import Iterator, Sequence

from lazybuild.errors import LazybuildError
from lazybuild.linux.workers import Workers
from lazybuild.snapshots import elf
from lazybuild.snapshots.lazyfs import commands, pyc
from lazybuild.snapshots.lazyfs.layer import LazyLayer, Why
from lazybuild.snapshots.lazyfs.paths import follow
from lazybuild.snapshots.lazyfs.prefetch import Prefetcher
from lazybuild.snapshots.lazyfs.reader import ChunkReader

_FOLDERS = (
    "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu",
    "usr/lib/aarch64-linux-gnu", "lib64", "usr/lib64", "lib", "usr/lib", "usr/local/lib",
)  # fmt: skip
_PIECES, _PROGRAM_PIECES = 2, 16
_GUESSERS = 6
_FILE_MAX = 8 << 20
"""Of a larger library only the first chunk is guessed at."""


class Speculator:
    """`consider` a file that was read for the first time; each file is looked at once."""

    def __init__(self, reader: ChunkReader, prefetcher: Prefetcher) -> None:
        self._reader, self._prefetcher = reader, prefetcher
        self._lock = threading.Lock()
        self._known: set[tuple[str, int]] = set()
        self._guessers = Workers(_GUESSERS, "lazyfs-guess")

    def expect(self, layer: LazyLayer, steps: Sequence[Sequence[str]]) -> None:
        """These commands will run, in this order: begin to fetch what they are sure to read."""
        for place, argv in enumerate(steps):
            why = Why.LATER if place else Why.EXPECTED
            self._guessers.do(self._expect, layer, commands.files(layer.tree, argv), why)

    def _expect(self, layer: LazyLayer, found: Sequence[int], why: Why) -> None:
        for ino in found:
            self._prefetcher.want(layer, _first_chunks(layer, ino), why)
        for ino in found:
            self.consider(layer, ino, why)

    def consider(self, layer: LazyLayer, ino: int, why: Why = Why.SPECULATION) -> None:
        if layer.tree.size(ino) >= len(elf.MAGIC) and self._first_time(layer, ino):
            self._guessers.do(self._guess, layer, ino, why)

    def go_on(self, layer: LazyLayer, ino: int) -> None:
        """A second piece of a long file was asked for: the others of a program follow, too."""
        chunks = layer.tree.file_chunks(ino)
        asked = [chunk for chunk in chunks if layer.read[chunk]]
        if len(asked) < _PIECES or len(asked) == len(chunks):
            return
        in_order = asked[-1] - asked[0] == len(asked) - 1
        if layer.tree.mode(ino) & stat.S_IXUSR and len(chunks) <= _PROGRAM_PIECES:
            self._prefetcher.want(layer, chunks, Why.SPECULATION)
        elif in_order:
            following = range(asked[-1] + 1, min(asked[-1] + 3, chunks.stop))
            self._prefetcher.want(layer, following, Why.AHEAD)

    def _first_time(self, layer: LazyLayer, ino: int) -> bool:
        with self._lock:
            known = (layer.digest, ino) in self._known
            self._known.add((layer.digest, ino))
            return not known

    def _guess(self, layer: LazyLayer, ino: int, why: Why) -> None:
        try:
            found, deeper = self._needs(layer, ino)
        except LazybuildError:
            return  # an unreadable or broken file: whoever reads it will be told
        chunks = [chunk for other in found for chunk in _first_chunks(layer, other)]
        self._prefetcher.want(layer, chunks, why)
        for other in found if deeper else ():
            self.consider(layer, other, why)

    def _needs(self, layer: LazyLayer, ino: int) -> tuple[list[int], bool]:
        """Files that are needed, too, and whether what they need shall be looked at at once."""
        if layer.tree.path(ino).endswith(pyc.SUFFIX):
            data = self._bytes(layer, ino, 0, pyc.SIZE_MAX)
            return list(pyc.imports(layer.tree, ino, data, layer.to_guess())), False
        found = elf.needs(lambda offset, size: self._bytes(layer, ino, offset, size))
        if found is None:
            return [], False
        names = [found.interpreter, *found.libraries]
        if found.interpreter.endswith("/env"):
            names += [f"usr/bin/{name}" for name in found.libraries]
        return [other for name in names if name and (other := locate(layer, ino, name))], True

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
        return follow(layer.tree, name)
    beside = layer.tree.path(user).rpartition(b"/")[0].decode("utf-8", "surrogateescape")
    for folder in (*_FOLDERS, beside):
        if found := follow(layer.tree, f"{folder}/{name}"):
            return found
    return 0
