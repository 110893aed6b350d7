"""What a layer holds, as items in path order. An engine over `LayerTree`.

A directory stands directly before what it holds; the mark of an opaque one directly behind it.
Names that no image can hold (sockets, names that would read as whiteouts) are left out and told.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from lazybuild.estargz.entry import Entry, Item, Kind
from lazybuild.snapshots import paths
from lazybuild.snapshots.draft import OPAQUE, WHITEOUT
from lazybuild.snapshots.tree import LayerTree, Node, entry_of

Note = Callable[[str], None]


def layer_items(tree: LayerTree, note: Note) -> Iterator[Item]:
    """The layer, its root left out. Bytes are read when the item is opened."""
    return _Diff(tree, note).run()


class _Diff:
    def __init__(self, tree: LayerTree, note: Note) -> None:
        self._tree = tree
        self._note = note
        self._first: dict[object, str] = {}

    def run(self) -> Iterator[Item]:
        stack = self._below("")
        while stack:
            path = stack.pop()
            node = self._tree.lookup(path)
            if node is None:
                yield Item(_mark(paths.parent(path), WHITEOUT + paths.base(path)))
                continue
            yield self._item(path, node)
            if node.kind is Kind.DIR:
                if self._tree.opaque(path):
                    yield Item(_mark(path, OPAQUE))
                stack.extend(self._below(path))

    def _below(self, directory: str) -> list[str]:
        """The names of a directory, whiteouts among them, the last one first."""
        for name in self._tree.leftovers(directory):
            self._note(f"/{paths.join(directory, name)}: a socket, left out")
        names = {*self._tree.children(directory), *self._tree.whiteouts(directory)}
        return [
            paths.join(directory, name)
            for name in sorted(names, key=paths.sort_key, reverse=True)
            if self._holds(directory, name)
        ]

    def _holds(self, directory: str, name: str) -> bool:
        if name.startswith(WHITEOUT):
            self._note(f"/{paths.join(directory, name)}: no layer can hold such a name, left out")
        return not name.startswith(WHITEOUT)

    def _item(self, path: str, node: Node) -> Item:
        entry = entry_of(path, node)
        if node.identity is not None and node.kind is Kind.REG:
            target = self._first.setdefault(node.identity, path)
            if target != path:
                return Item(replace(entry, kind=Kind.HARDLINK, link=target, size=0))
        return Item(entry, partial(self._tree.open, path) if entry.size else None)


def _mark(directory: str, name: str) -> Entry:
    return Entry(name=paths.join(directory, name), kind=Kind.REG, mode=0)
