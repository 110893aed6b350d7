"""The files that a command touches when it starts: the program, its interpreter, its libraries.

An engine over `Tree`: follows PATH, symbolic links, ELF needs and `#!` lines inside the tree. What
is not there is left out: this is a hint of what will be read first, not a loader.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from lazybuild.errors import BuildError
from lazybuild.estargz.entry import Kind
from lazybuild.snapshots import elf, paths
from lazybuild.snapshots.tree import Tree, resolve

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LIBRARY_DIRS = ("lib64", "usr/lib64", "lib", "usr/lib", "usr/local/lib")
MULTIARCH = ("x86_64-linux-gnu", "aarch64-linux-gnu")
MAX_FILES = 500
MAX_PROGRAM = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How an image is started, as its config says."""

    argv: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = "/"


def closure(tree: Tree, start: Start, may_open: Callable[[str], bool] = bool) -> list[str]:
    """Names in the tree in the order in which starting reads them, links before targets.

    A file that `may_open` refuses is named, but not looked into for what it needs.
    """
    return _Closure(tree, start, may_open).of(start.argv)


class _Closure:
    def __init__(self, tree: Tree, start: Start, may_open: Callable[[str], bool]) -> None:
        self._tree = tree
        self._cwd = start.cwd
        self._may_open = may_open
        values = dict(item.split("=", 1) for item in start.env if "=" in item)
        self._path = values.get("PATH", DEFAULT_PATH).split(":")
        self._found: dict[str, None] = {}

    def of(self, argv: Sequence[str]) -> list[str]:
        pending = [name for word in argv for name in self._program(word, first=word is argv[0])]
        while pending and len(self._found) < MAX_FILES:
            name = pending.pop(0)
            target = self._add(name)
            if target and self._may_open(target):
                pending = [*self._needed(target), *pending]
        return list(self._found)

    def _program(self, word: str, *, first: bool) -> Iterator[str]:
        """The file that a word of the command names: later words only when they are paths."""
        if "/" in word:
            yield word if word.startswith("/") else f"{self._cwd}/{word}"
        elif first:
            yield from (f"{part}/{word}" for part in self._path if self._is_file(f"{part}/{word}"))

    def _is_file(self, name: str) -> bool:
        node = self._tree.lookup(self._target(name))
        return node is not None and node.kind is Kind.REG

    def _target(self, name: str) -> str:
        try:
            return resolve(self._tree, name)
        except BuildError:
            return paths.clean(name)

    def _add(self, name: str) -> str:
        """Keep the name, when it is a link, and the file it leads to; the latter if it is new."""
        target = self._target(name)
        if not self._is_file(name) or target in self._found:
            return ""
        link = paths.clean(name)
        node = self._tree.lookup(link)
        if node is not None and node.kind is Kind.SYMLINK:
            self._found[link] = None
        self._found[target] = None
        return target

    def _needed(self, name: str) -> Iterator[str]:
        with self._tree.open(name) as opened:
            stream = opened if opened.seekable() else io.BytesIO(opened.read(MAX_PROGRAM))
            needs = elf.needs(partial(_read_at, stream))
        if needs is None:
            return
        if needs.interpreter:
            yield needs.interpreter
        for library in needs.libraries:
            yield from self._library(library, needs.runpath, paths.parent(name))

    def _library(self, name: str, runpath: Sequence[str], origin: str) -> Iterator[str]:
        if "/" in name:
            yield name
            return
        own = [part.replace("$ORIGIN", origin).replace("${ORIGIN}", origin) for part in runpath]
        usual = [
            f"{directory}/{arch}" if arch else directory
            for arch in (*MULTIARCH, "")
            for directory in LIBRARY_DIRS
        ]
        places = [*own, *usual, *self._path]
        yield from [f"{part}/{name}" for part in places if self._is_file(f"{part}/{name}")][:1]


def _read_at(stream: BinaryIO, offset: int, length: int) -> bytes:
    stream.seek(offset)
    return stream.read(length)
