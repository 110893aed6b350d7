"""Which files of its layers does a step open, in which order?

Watches the directories of the step's root that these layers have: overlay reports every open and
exec below itself, at no cost to the step, but none of it to watches on the layers' own directories.
Layers that are mounted lazily report their first reads themselves (see `view`).
Knows no layer but by what it holds.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from lazybuild.estargz.entry import Kind
from lazybuild.linux import syscalls
from lazybuild.linux.opens import SECONDS, Opens
from lazybuild.snapshots import paths
from lazybuild.snapshots.tree import LayerTree, walk

_NO_LINKS = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS


class TracedLayer(Protocol):
    """What the trace has to know of a layer."""

    @property
    def id(self) -> str: ...

    def directories(self) -> Iterable[bytes]:
        """Those that hold files, parents first."""
        ...

    def has_file(self, path: bytes) -> bool: ...


@dataclass(frozen=True, slots=True)
class DirectoryLayer:
    """A layer with its files in a folder, in overlay's format."""

    id: str
    folder: Path

    def directories(self) -> list[bytes]:
        return sorted(_below(os.fsencode(self.folder)))

    def has_file(self, path: bytes) -> bool:
        return _is_file(self.folder, path)


@dataclass(frozen=True)
class TreeLayer:
    """A layer that is nowhere in one place: what its table of contents says."""

    id: str
    tree: LayerTree

    def directories(self) -> list[bytes]:
        return self._directories

    @cached_property
    def _directories(self) -> list[bytes]:
        found = {paths.parent(path) for path, node in walk(self.tree) if node.kind is Kind.REG}
        return sorted(os.fsencode(path) for path in found)

    def has_file(self, path: bytes) -> bool:
        node = self.tree.lookup(os.fsdecode(path))
        return node is not None and node.kind is Kind.REG


class OpenTrace:
    """Watches from its construction until `stop`. `lacking` says why something may be missing."""

    def __init__(
        self, merged: Path, layers: Sequence[TracedLayer], *, seconds: float = SECONDS
    ) -> None:
        """`layers` stand bottom first; if there is no watch for all, the top ones have theirs."""
        self._layers = tuple(reversed(layers))
        self._opens = Opens(_places(merged, self._layers), seconds=seconds)

    @property
    def lacking(self) -> str:
        return self._opens.lacking

    def stop(self) -> list[tuple[str, str]]:
        """(layer id, path) of each file opened, in order of first use."""
        return list(self._found(self._opens.stop()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opens.stop()

    def _found(self, names: Iterable[bytes]) -> Iterator[tuple[str, str]]:
        for path in names:
            layer = next((one for one in self._layers if one.has_file(path)), None)
            if layer is not None:
                yield layer.id, os.fsdecode(path)


def _places(merged: Path, layers: Sequence[TracedLayer]) -> Iterator[tuple[bytes, bytes]]:
    """Paths of the directories of these layers in `merged`, and their names."""
    root = os.open(merged, os.O_PATH | os.O_DIRECTORY)
    try:
        for path in dict.fromkeys(path for layer in layers for path in layer.directories()):
            with _opened(root, path) as fd:
                if fd >= 0:
                    yield b"/proc/self/fd/%d" % fd, path
    finally:
        os.close(root)


@contextmanager
def _opened(root: int, path: bytes) -> Iterator[int]:
    """-1 where a layer above has something else than a directory."""
    flags = os.O_PATH | os.O_DIRECTORY
    try:
        fd = syscalls.openat2(root, path or b".", flags, resolve=_NO_LINKS)
    except OSError:
        yield -1
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _below(folder: bytes) -> Iterator[bytes]:
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        try:
            with os.scandir(folder + b"/" + path) as entries:
                found = [(e.name, e.is_dir(follow_symlinks=False)) for e in entries]
        except PermissionError:
            continue  # a folder that only its owner may list; its files are not ours to know
        if not all(is_directory for _, is_directory in found):
            yield path
        names = [name for name, is_directory in found if is_directory]
        waiting += [path + b"/" + name if path else name for name in names]


def _is_file(folder: Path, path: bytes) -> bool:
    """Whether the layer has a regular file there, reached without following a link."""
    try:
        root = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fd = syscalls.openat2(root, path, os.O_PATH | os.O_NOFOLLOW, resolve=_NO_LINKS)
    except OSError:
        return False
    finally:
        os.close(root)
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    finally:
        os.close(fd)
