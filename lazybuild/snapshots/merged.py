"""Layers over one another, seen as the kernel's overlay file system shows them.

An engine over `LayerTree`; knows neither mounts nor formats of layers.
"""

from collections.abc import Sequence
from typing import BinaryIO

from lazybuild.estargz.entry import Kind
from lazybuild.snapshots import paths
from lazybuild.snapshots.tree import ROOT, LayerTree, Node, not_a_file

_Stack = tuple[LayerTree, ...]


class MergedTree:
    """A tree of layers, the topmost first in every stack and the last in `layers`."""

    def __init__(self, layers: Sequence[LayerTree]) -> None:
        self._top_first: _Stack = tuple(reversed(layers))
        self._stacks: dict[str, _Stack] = {}

    def lookup(self, path: str) -> Node | None:
        if not path:
            return next((node for tree in self._top_first if (node := tree.lookup(""))), ROOT)
        owner = self._owner(path)
        return owner.lookup(path) if owner else None

    def children(self, path: str) -> Sequence[str]:
        names: set[str] = set()
        hidden: set[str] = set()
        for layer in self._stack(path):
            names.update(name for name in layer.children(path) if name not in hidden)
            hidden.update(layer.whiteouts(path))
        return sorted(names, key=paths.sort_key)

    def open(self, path: str) -> BinaryIO:
        return self._file_owner(path).open(path)

    def digest(self, path: str) -> str:
        return self._file_owner(path).digest(path)

    def _file_owner(self, path: str) -> LayerTree:
        owner = self._owner(path)
        if owner is None:
            raise not_a_file(path)
        return owner

    def _owner(self, path: str) -> LayerTree | None:
        """The layer whose `path` is seen."""
        name = paths.base(path)
        directory = paths.parent(path)
        for layer in self._stack(directory):
            if layer.lookup(path) is not None:
                return layer
            if name in layer.whiteouts(directory):
                return None
        return None

    def _stack(self, path: str) -> _Stack:
        """The layers that have a share in the directory `path`; () if it is none."""
        known = self._stacks.get(path)
        if known is None:
            above = self._top_first if not path else self._stack_above(path)
            known = self._stacks[path] = _shares(above, path)
        return known

    def _stack_above(self, path: str) -> _Stack:
        for directory in paths.ancestors(path):
            self._stack(directory)
        return self._stack(paths.parent(path))


def _shares(above: _Stack, path: str) -> _Stack:
    stack: list[LayerTree] = []
    name, directory = paths.base(path), paths.parent(path)
    for layer in above:
        node = layer.lookup(path)
        if node is not None and node.kind is not Kind.DIR and path:
            break
        if node is not None:
            stack.append(layer)
            if layer.opaque(path) or (path and name in layer.whiteouts(directory)):
                break
        elif path and name in layer.whiteouts(directory):
            break
    return tuple(stack)
