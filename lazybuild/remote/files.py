"""Directories of this machine as a BuildKit wants to see them: listed in order, ids left out.

What the ignore rules leave out is not sent, nor what lies aside of the paths that are followed.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lazybuild.snapshots.described import described
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.snapshots.tree import Tree, resolve, walk
from lazybuild.sources.local import PatternRules
from lazybuild.wire.filesync import SentFile
from lazybuild.wire.session import SentTree, Wanted

WILD = frozenset("*?[\\")


class Directories:
    """The directories of one build by name; a call of it is `Offers.directory`."""

    def __init__(self, places: Mapping[str, Path]) -> None:
        self._places = places

    def __call__(self, wanted: Wanted) -> SentTree | None:
        place = self._places.get(wanted.name)
        if place is None:
            return None
        rules = None
        if wanted.include or wanted.exclude:
            rules = PatternRules(include=wanted.include, exclude=wanted.exclude)
        tree = HostTree(place, ignore=rules)
        return SentTree(files=listed(tree, followed(tree, wanted.follow)), open=tree.open)


def followed(tree: Tree, names: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a path is wanted: on the way to a followed name, or below it.

    A name with a wildcard stands for the directory in front of it; a link for what it leads to.
    """
    tops = {_certain(name) for name in names}
    tops |= {resolve(tree, top) for top in tops}
    if not tops or "" in tops:
        return lambda _: True
    return lambda path: any(_related(path, top) for top in tops)


def _certain(name: str) -> str:
    parts = []
    for part in name.strip("/").split("/"):
        if WILD & set(part):
            break
        parts.append(part)
    return "/".join(part for part in parts if part not in ("", "."))


def _related(path: str, top: str) -> bool:
    return f"{path}/".startswith(f"{top}/") or f"{top}/".startswith(f"{path}/")


def listed(tree: Tree, wanted: Callable[[str], bool]) -> Iterator[SentFile]:
    for path, node in walk(tree):
        if path and wanted(path):
            yield described(path, node)
