"""Whole file systems of snapshots as plain directories, for hosts where nothing can stack layers.

A tree is made layer by layer, given to one step, and kept for the step that follows, which may
stand on a few layers more; what a step changed is found by a look at every inode after it. Trees
live in the scratch space of the store and go with this process; that of a failed step goes at once.
An edge; safe in threads: a tree has one user at a time.
"""

import os
import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from lazybuild.estargz.entry import Item
from lazybuild.linux.ownernotes import ROOT, Owner
from lazybuild.snapshots import recorded, scan
from lazybuild.snapshots.apply import apply
from lazybuild.snapshots.tree import LayerTree
from lazybuild.store.scratch import Scratch

KEPT = 2  # trees that wait for a step, at most
ROOT_MODE = 0o755  # of the root directory, unless a layer says otherwise
Layers = tuple[str, ...]


@dataclass(kw_only=True)
class Copy:
    """One tree, and the state of all that is in it; closing it removes it."""

    path: Path
    holds: ExitStack
    states: scan.States = field(default_factory=dict)

    def close(self) -> None:
        self.holds.close()


@dataclass(kw_only=True)
class CopiedStep:
    """A step over a tree of its own. `upper` is the tree itself, which holds what was written."""

    copy: Copy
    publish: Callable[[LayerTree], str]
    result: str = field(default="")
    _changes: scan.Changes | None = field(default=None)

    @property
    def merged(self) -> Path:
        return self.copy.path

    def ended(self, moved: Collection[int]) -> None:
        """Look at what the step left; `moved` are inodes that were out of its way meanwhile."""
        self._changes = scan.Changes(self.merged, self.copy.states, moved)

    def note_owner(self, owner: Owner) -> None:
        """Where a file can't have an owner of its own, say whose what was made is."""
        if owner != ROOT:
            recorded.note_these(self.merged, self._found().new, owner)
            self._changes = scan.Changes(self.merged, self.copy.states)

    def commit(self) -> str:
        """Keep what was written; the id of the new layer. The next step begins where this ended."""
        found = self._found()
        self.result = self.publish(found)
        self.copy.states = found.after
        return self.result

    def _found(self) -> scan.Changes:
        if self._changes is None:
            raise RuntimeError("the step has not ended")
        return self._changes


class Copies:
    """The trees of one process."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._kept: dict[Layers, Copy] = {}
        self._lock = threading.Lock()

    def take(self, layers: Layers, items_of: Callable[[str], Iterable[Item]]) -> Copy:
        """A tree of these layers, bottom first, for the caller alone: the one that lacks fewest of
        them, and those laid over it.
        """
        with self._lock:
            below = max((it for it in self._kept if it == layers[: len(it)]), key=len, default=())
            kept = self._kept.pop(below, None)
        copy = kept or self._begun()
        try:
            for layer in layers[len(below) :]:
                apply(items_of(layer), copy.path)
            if below != layers or not kept:
                copy.states = scan.look(copy.path)
        except BaseException:
            copy.close()
            raise
        return copy

    def give_back(self, layers: Layers, copy: Copy) -> None:
        """Keep a tree that was lent to be read, if it was only read."""
        if scan.look(copy.path) == copy.states:
            self.keep(layers, copy)
        else:
            copy.close()

    def keep(self, layers: Layers, copy: Copy) -> None:
        """Have the tree wait for the next step over `layers`; that which waited longest goes."""
        with self._lock:
            doubled = self._kept.pop(layers, None)
            self._kept[layers] = copy
            surplus = [self._kept.pop(next(iter(self._kept)))] if len(self._kept) > KEPT else []
        for one in (doubled, *surplus):
            if one is not None:
                one.close()

    def close(self) -> None:
        with self._lock:
            waiting, self._kept = list(self._kept.values()), {}
        for copy in waiting:
            copy.close()

    def _begun(self) -> Copy:
        with ExitStack() as stack:
            home = stack.enter_context(self._scratch.directory("tree"))
            path = home / "fs"
            path.mkdir()
            os.chmod(path, ROOT_MODE)
            return Copy(path=path, holds=stack.pop_all())
