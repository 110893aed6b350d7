"""What one mounted file system has beyond another, as a layer. An engine over two directory trees.

For where only the results of two steps can be seen, not the directory that the second one wrote.
Files are the same when all that a layer says of them is equal and so are either their ctimes (one
file of the storage, seen through two mounts; who writes to it changes that) or their bytes.
An overlay copies all directories above what it changes, so that one whose ctime has stayed has
nothing new below it, and is not even read.
A file with several names is in the layer under all of them or none: nothing could tie them later.
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Sequence
from dataclasses import replace
from typing import BinaryIO

from lazybuild.estargz.entry import Kind
from lazybuild.snapshots import paths
from lazybuild.snapshots.dirtree import DirTree
from lazybuild.snapshots.tree import Node, walk


class Difference:
    """A `LayerTree`: over `lower` (None is scratch) it gives `upper`. Compared when it is made."""

    def __init__(self, lower: DirTree | None, upper: DirTree) -> None:
        self._lower = lower
        self._upper = upper
        self._prunes = upper.is_overlay()
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        self._gone: defaultdict[str, list[str]] = defaultdict(list)
        self._tied: defaultdict[Hashable, list[str]] = defaultdict(list)
        self._compare()
        for tied in self._tied.values():
            if any(self.lookup(path) for path in tied):
                for path in tied:
                    self._add(path)

    def lookup(self, path: str) -> Node | None:
        if path and paths.base(path) not in self._names.get(paths.parent(path), ()):
            return None
        return self._upper.lookup(path)

    def children(self, path: str) -> Sequence[str]:
        return sorted(self._names.get(path, ()), key=paths.sort_key)

    def whiteouts(self, path: str) -> Collection[str]:
        return self._gone.get(path, ())

    def opaque(self, path: str) -> bool:
        del path
        return False

    def leftovers(self, path: str) -> Sequence[str]:
        del path
        return ()

    def open(self, path: str) -> BinaryIO:
        return self._upper.open(path)

    def digest(self, path: str) -> str:
        return self._upper.digest(path)

    def removed(self) -> list[str]:
        """The paths of which nothing is left, sorted; what was below them is not listed."""
        return sorted(
            paths.join(place, name) for place, names in self._gone.items() for name in names
        )

    def _compare(self) -> None:
        waiting = [""]
        while waiting:
            directory = waiting.pop()
            before = set(self._lower.children(directory)) if self._lower else set[str]()
            after = self._upper.children(directory)
            for name in sorted(before.difference(after)):
                self._gone[directory].append(name)
                self._add(directory)
            for name in after:
                path = paths.join(directory, name)
                if self._settle(path, known=name in before):
                    waiting.append(path)

    def _settle(self, path: str, *, known: bool) -> bool:
        """Take a name of `upper`. True for a directory of both, to be compared inside."""
        node = self._upper.lookup(path)
        if node is None:
            return False
        if node.identity is not None:
            self._tied[node.identity].append(path)
        old = self._lower.lookup(path) if self._lower and known else None
        if old is None or not same(self._lower, self._upper, path):
            self._add(path)
        if node.kind is not Kind.DIR:
            return False
        if self._lower and old is not None and old.kind is Kind.DIR:
            untouched = self._lower.changed_at(path) == self._upper.changed_at(path)
            return not (self._prunes and untouched)
        for inside, found in walk(self._upper, path):
            self._add(inside)
            if found.identity is not None:
                self._tied[found.identity].append(inside)
        return False

    def _add(self, path: str) -> None:
        """A name of the layer, with the directories on the way to it."""
        while path and paths.base(path) not in self._names[paths.parent(path)]:
            self._names[paths.parent(path)].add(paths.base(path))
            path = paths.parent(path)


def same(lower: DirTree | None, upper: DirTree, path: str) -> bool:
    """Whether a layer from `lower` to `upper` has nothing to say of this name."""
    old, new = lower.lookup(path) if lower else None, upper.lookup(path)
    if lower is None or old is None or new is None:
        return old is new
    if replace(old, identity=None) != replace(new, identity=None):
        return False
    if new.kind is not Kind.REG or not new.size:
        return True
    untouched = lower.changed_at(path) == upper.changed_at(path)
    return untouched or lower.digest(path) == upper.digest(path)
