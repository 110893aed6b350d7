"""Which files of a tree a copy means: wildcards, include and exclude patterns. An engine.

Shared by the copy itself and by the hash that decides whether it has to happen.
"""

from collections.abc import Iterator, Sequence

from lazybuild.estargz.entry import Kind
from lazybuild.llb.patterns import go_match, has_wildcard
from lazybuild.snapshots import paths
from lazybuild.snapshots.patterns import Matched, Patterns
from lazybuild.snapshots.tree import Node, Tree, resolve


def expand(tree: Tree, source: str, *, follow: bool = True) -> Sequence[str]:
    """The names that a source with wildcards stands for, in order; a literal stands for itself.

    As in the reference, a matched directory is not searched for further matches.
    """
    literal, wild = _split(source)
    if not wild:
        return (literal,)
    base = resolve(tree, literal, follow_last=follow)
    return list(_search(tree, base, wild))


def _split(source: str) -> tuple[str, list[str]]:
    parts = paths.clean(source).split("/")
    first = next((at for at, part in enumerate(parts) if has_wildcard(part)), len(parts))
    return "/".join(parts[:first]), parts[first:]


def _search(tree: Tree, directory: str, wild: list[str]) -> Iterator[str]:
    for name in tree.children(directory):
        if not go_match(wild[0], name):
            continue
        path = paths.join(directory, name)
        if len(wild) == 1:
            yield path
        elif (node := tree.lookup(path)) is not None and node.kind is Kind.DIR:
            yield from _search(tree, path, wild[1:])


def selected(
    tree: Tree, top: str, *, include: Patterns, exclude: Patterns
) -> Iterator[tuple[str, Node, bool]]:
    """`top` and what the patterns, relative to it, mean below it, with the directories on the way.

    The flag tells a file that was meant (True) from a directory that only leads to one (False).
    A directory comes directly before what it holds.
    """
    node = tree.lookup(top)
    if node is not None:
        yield top, node, True
        if node.kind is Kind.DIR:
            yield from _Selection(tree, top, include, exclude).run()


class _Selection:
    """One walk. `_leads` are directories that only matter if something in them does."""

    def __init__(self, tree: Tree, top: str, include: Patterns, exclude: Patterns) -> None:
        self._tree = tree
        self._top = top
        self._include = include
        self._exclude = exclude
        self._leads: list[tuple[str, Node]] = []
        self._stack: list[tuple[str, Matched, Matched]] = []

    def run(self) -> Iterator[tuple[str, Node, bool]]:
        self._push("", (), ())
        while self._stack:
            relative, included, excluded = self._stack.pop()
            while self._leads and not relative.startswith(self._leads[-1][0] + "/"):
                self._leads.pop()
            node = self._tree.lookup(self._full(relative))
            if node is not None:
                yield from self._one(relative, node, included, excluded)

    def _one(
        self, relative: str, node: Node, included: Matched, excluded: Matched
    ) -> Iterator[tuple[str, Node, bool]]:
        wanted, included = self._include.match(relative, included)
        unwanted, excluded = self._exclude.match(relative, excluded)
        meant = (wanted or self._include.empty) and not unwanted
        if meant:
            yield from ((self._full(lead), found, False) for lead, found in self._leads)
            self._leads.clear()
            yield self._full(relative), node, True
        if node.kind is Kind.DIR and self._worth(relative, wanted=wanted, unwanted=unwanted):
            if not meant:
                self._leads.append((relative, node))
            self._push(relative, included, excluded)

    def _push(self, relative: str, included: Matched, excluded: Matched) -> None:
        names = self._tree.children(self._full(relative))
        self._stack.extend(
            (paths.join(relative, name), included, excluded) for name in reversed(names)
        )

    def _full(self, relative: str) -> str:
        return paths.join(self._top, relative)

    def _worth(self, relative: str, *, wanted: bool, unwanted: bool) -> bool:
        """Whether something in a directory could be meant."""
        if unwanted and not self._exclude.reaches_below(relative, negated=True):
            return False
        return wanted or self._include.empty or self._include.reaches_below(relative)
