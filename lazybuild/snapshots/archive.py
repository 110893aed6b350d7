"""ADD of an archive: what it holds, laid out in a draft as `tar -x` in a chroot would.

An engine over trees; `spool` keeps the bytes. No name and no link leads out of the target
directory; devices stay metadata; nothing of the archive is run.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from lazybuild.errors import BuildError
from lazybuild.estargz import tar
from lazybuild.estargz.entry import Entry, Item, Kind
from lazybuild.estargz.streams import Caps
from lazybuild.snapshots import paths
from lazybuild.snapshots.draft import Draft, make_directories
from lazybuild.snapshots.owners import Ids
from lazybuild.snapshots.spool import Spool, opened, probe
from lazybuild.snapshots.tree import Node, Tree, resolve
from lazybuild.snapshots.xattrs import portable


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Bounds of one archive. `spool` is the directory for unpacked bytes, None the system's own."""

    limits: tar.Limits = field(default_factory=tar.Limits)
    caps: Caps = field(default_factory=Caps)
    spool: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where an archive goes, and whom its files belong to if not to those it names."""

    draft: Draft
    path: str
    ids: Ids | None
    mtime: int


def lay_out(tree: Tree, path: str, target: Target, rules: Rules) -> bool:
    """Unpack the file `path` of `tree`; False if it is no tar archive at all."""
    if not probe(tree, path):
        return False
    make_directories(target.draft, target.path, mode=0o755, ids=target.ids, mtime=target.mtime)
    with opened(tree, path, caps=rules.caps, spool=rules.spool) as spool:
        layer = _Unpacking(target, spool)
        for item in tar.read(spool.stream, rules.limits):
            layer.add(item)
    return True


class _Below:
    """The part of a draft under a directory, as the tree that a chroot there would show."""

    def __init__(self, draft: Draft, top: str) -> None:
        self._draft = draft
        self._top = top

    def lookup(self, path: str) -> Node | None:
        return self._draft.lookup(paths.join(self._top, path))

    def children(self, path: str) -> Sequence[str]:
        return self._draft.children(paths.join(self._top, path))

    def open(self, path: str) -> BinaryIO:
        return self._draft.open(paths.join(self._top, path))

    def digest(self, path: str) -> str:
        return self._draft.digest(paths.join(self._top, path))


class _Unpacking:
    def __init__(self, target: Target, spool: Spool) -> None:
        self._target = target
        self._draft = target.draft
        self._spool = spool
        self._below = _Below(target.draft, target.path)

    def add(self, item: Item) -> None:
        entry = item.entry
        content = self._spool.keep(item)
        path = self._place(entry.name)
        target = self._link_target(entry)
        if target and target == path:
            return
        there = self._draft.lookup(path)
        if there is not None and not (there.kind is Kind.DIR and entry.kind is Kind.DIR):
            self._clear(path)
        if entry.kind is Kind.HARDLINK:
            self._link(path, target, entry)
        else:
            self._draft.put(path, self._node(entry), content)

    def _place(self, name: str) -> str:
        """Where a name goes, the links above it followed as in a chroot; makes its parents."""
        if not name:
            return self._target.path
        directory = paths.join(self._target.path, resolve(self._below, paths.parent(name)))
        for above in (*paths.ancestors(directory), directory):
            node = self._draft.lookup(above)
            if node is not None and node.kind is not Kind.DIR:
                self._draft.remove(above)
        ids, mtime = self._target.ids, self._target.mtime
        make_directories(self._draft, directory, mode=0o755, ids=ids, mtime=mtime)
        return paths.join(directory, paths.base(name))

    def _clear(self, path: str) -> None:
        if path == self._target.path:
            raise BuildError("the archive's root is not a directory")
        self._draft.remove(path)

    def _link_target(self, entry: Entry) -> str:
        if entry.kind is not Kind.HARDLINK:
            return ""
        inside = resolve(self._below, entry.link, follow_last=False)
        return paths.join(self._target.path, inside)

    def _link(self, path: str, target: str, entry: Entry) -> None:
        """A second name; the file it names comes into the layer with it."""
        node = self._draft.lookup(target)
        if node is None or node.kind is Kind.DIR:
            raise BuildError(f"archive: hard link {entry.name} to {entry.link}, which is no file")
        if node.kind is not Kind.REG:
            self._draft.put(path, node)
            return
        identity: Hashable = (id(self), target) if node.identity is None else node.identity
        content = self._draft.content(target)
        for name in (target, path):
            self._draft.put(name, replace(node, identity=identity), content)

    def _node(self, entry: Entry) -> Node:
        ids = self._target.ids or Ids(entry.uid, entry.gid)
        return Node(
            kind=entry.kind,
            mode=entry.mode if entry.kind is not Kind.SYMLINK else 0o777,
            uid=ids.uid,
            gid=ids.gid,
            size=entry.size,
            mtime=entry.mtime,
            link=entry.link,
            major=entry.major,
            minor=entry.minor,
            xattrs=portable(entry.xattrs),
        )
