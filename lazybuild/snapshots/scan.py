"""What changed in a directory between two looks, as the layer that a step would have left. An edge.

A file counts as changed when anything of its inode did (ctime tells, and can't be set), a directory
when its mode, owner, time or attributes did, or what is in it. The directory must be at rest.
"""

import os
import stat
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from lazybuild.linux import idspace, ownernotes
from lazybuild.linux.ownernotes import LINKS
from lazybuild.snapshots import paths, xattrs
from lazybuild.snapshots.dirtree import DirTree
from lazybuild.snapshots.tree import Node

State = tuple[object, ...]
States = dict[str, State]
INODE, MODE, CTIME = 0, 1, -1


def look(root: Path, before: Mapping[str, State] = MappingProxyType({})) -> States:
    """The state of everything below `root`; what is as it was `before` takes no more memory."""
    top = _state(os.fspath(root), os.stat(root))
    found: States = {"": _one(top, before.get(""))}
    waiting = [(os.fspath(root), "")]
    while waiting:
        place, name = waiting.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                path = paths.join(name, entry.name)
                status = entry.stat(follow_symlinks=False)
                found[path] = _one(_state(entry.path, status), before.get(path))
                if stat.S_ISDIR(status.st_mode):
                    waiting.append((entry.path, path))
    return found


def _one(state: State, known: State | None) -> State:
    return known if known == state else state


def _state(path: str, status: os.stat_result) -> State:
    common = (status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns)
    if stat.S_ISDIR(status.st_mode):
        return (*common, tuple((key, xattrs.value(path, key)) for key in xattrs.listed(path)))
    return (*common, status.st_size, status.st_rdev, status.st_ctime_ns)


class Changes:
    """A `LayerTree` of what is in `root` now and was not, or not so, `before`.

    Files whose inode is one of `moved` were moved away and back, which changes their ctime alone.
    """

    def __init__(self, root: Path, before: States, moved: Collection[int] = ()) -> None:
        after = look(root, before)
        self._whole = DirTree(root)
        self._moved = frozenset(moved)
        changed = [path for path, state in after.items() if self._differs(before.get(path), state)]
        if idspace.only_one():
            changed += _links_with_new_owners(before, after)
        self.new = [path for path in changed if not _is_same_file(before.get(path), after[path])]
        self._removed: defaultdict[str, list[str]] = defaultdict(list)
        for path in before.keys() - after.keys():
            if paths.parent(path) in after:
                self._removed[paths.parent(path)].append(paths.base(path))
        self._children = _by_directory(changed, self._removed)
        self.after = after

    def _differs(self, before: State | None, after: State) -> bool:
        if before is None or before == after:
            return before is None
        return before[INODE] not in self._moved or before[:CTIME] != after[:CTIME]

    def lookup(self, path: str) -> Node | None:
        return self._whole.lookup(path)

    def children(self, path: str) -> Sequence[str]:
        names = sorted(self._children.get(path, ()), key=os.fsencode)
        return [name for name in names if self._whole.lookup(paths.join(path, name))]

    def whiteouts(self, path: str) -> Collection[str]:
        return self._removed.get(path, ())

    def opaque(self, path: str) -> bool:
        del path
        return False

    def leftovers(self, path: str) -> Sequence[str]:
        mine = self._children.get(path, ())
        return [name for name in self._whole.leftovers(path) if name in mine]

    def open(self, path: str) -> BinaryIO:
        return self._whole.open(path)

    def digest(self, path: str) -> str:
        return self._whole.digest(path)


def _is_same_file(before: State | None, after: State) -> bool:
    return before is not None and before[INODE] == after[INODE]


def _by_directory(changed: Sequence[str], removed: Collection[str]) -> dict[str, set[str]]:
    """The names to show in each directory, the way to each of them among them."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in (*changed, *removed):
        while path and paths.base(path) not in found[paths.parent(path)]:
            found[paths.parent(path)].add(paths.base(path))
            path = paths.parent(path)  # noqa: PLW2901 - climbs
    return found


def _links_with_new_owners(before: States, after: States) -> Iterator[str]:
    """Where there is one id, owners of links are noted in their directory."""
    for path, state in after.items():
        there = before.get(path)
        if there is None or there == state or not stat.S_ISDIR(int(str(state[MODE]))):
            continue
        old, new = _links_of(there), _links_of(state)
        for name in {*old, *new}:
            link = paths.join(path, os.fsdecode(name))
            if old.get(name) != new.get(name) and link in after:
                yield link


def _links_of(directory: State) -> ownernotes.Links:
    attributes = directory[-1]
    found = dict(attributes) if isinstance(attributes, tuple) else {}
    return ownernotes.parse_links(found.get(LINKS))
