"""A layer in overlay's own format as a tree: an upper directory of a step or an unpacked layer.

An edge. A whiteout is a character device 0:0, an opaque directory has `user.overlay.opaque`
(Linux Documentation/filesystems/overlayfs.rst; `userxattr`). Where the file system can't hold these
there are marks of our own, and where this process has a single id, owners are what was noted of
them (`recorded`). The directory must be at rest.
"""

import os
import re
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from lazybuild.estargz.entry import Kind
from lazybuild.linux import idspace, ownernotes, syscalls
from lazybuild.linux.ownernotes import Links
from lazybuild.snapshots import paths, recorded, xattrs
from lazybuild.snapshots.anchored import AnchoredDir, inside
from lazybuild.snapshots.filehash import sha256_of
from lazybuild.snapshots.sparse import skipping_holes
from lazybuild.snapshots.statnode import kind_of, node_of
from lazybuild.snapshots.tree import Node, not_a_file

OPAQUE = "user.overlay.opaque"
MARKED_OPAQUE, MARKED_WHITEOUT = "user.lazybuild.opaque", "user.lazybuild.whiteout"
DEVICE = "user.lazybuild.device"
"""On an empty file that stands for a device node: "c 1:3"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One directory of a layer. `sockets` are names that no image can hold; `stamps` are ctimes."""

    nodes: dict[str, Node]
    stamps: dict[str, int]
    whiteouts: frozenset[str]
    opaque: bool
    sockets: tuple[str, ...]


_DEVICE = re.compile(r"([cb]) (\d{1,10}):(\d{1,10})")
_NOTHING = Listing(nodes={}, stamps={}, whiteouts=frozenset(), opaque=False, sockets=())


class DirTree:
    """A `LayerTree` over a directory. Reads each directory once, when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self._anchor = AnchoredDir(root)
        self._listings: dict[str, Listing] = {}
        self._digests: dict[str, str] = {}
        self._recorded = idspace.only_one()

    def lookup(self, path: str) -> Node | None:
        if not path:
            return self._root()
        directory = paths.parent(path)
        return self.listing(directory).nodes.get(paths.base(path))

    def children(self, path: str) -> Sequence[str]:
        return sorted(self.listing(path).nodes, key=os.fsencode)

    def whiteouts(self, path: str) -> Collection[str]:
        return self.listing(path).whiteouts

    def opaque(self, path: str) -> bool:
        return self.listing(path).opaque

    def leftovers(self, path: str) -> Sequence[str]:
        return self.listing(path).sockets

    def changed_at(self, path: str) -> int:
        """When the kernel saw the file change last (ctime, ns); -1 without one."""
        return self.listing(paths.parent(path)).stamps.get(paths.base(path), -1)

    def is_overlay(self) -> bool:
        """Whether the root is a mounted overlay, not a directory of one."""
        with self._anchor.directory("") as fd:
            return syscalls.filesystem_magic(fd) == syscalls.OVERLAYFS_SUPER_MAGIC

    def open(self, path: str) -> BinaryIO:
        return skipping_holes(self._anchor.open(path))

    def digest(self, path: str) -> str:
        node = self.lookup(path)
        if node is None or node.kind is not Kind.REG:
            raise not_a_file(path)
        if path not in self._digests:
            with self.open(path) as stream:
                self._digests[path] = sha256_of(stream)
        return self._digests[path]

    def listing(self, path: str) -> Listing:
        known = self._listings.get(path)
        if known is None:
            for directory in paths.ancestors(path):
                self._load(directory)
            known = self._load(path)
        return known

    def _load(self, path: str) -> Listing:
        if path not in self._listings:
            self._listings[path] = self._read(path) if self._is_directory(path) else _NOTHING
        return self._listings[path]

    def _root(self) -> Node:
        with self._anchor.directory("") as fd:
            here = inside(fd, ".")
            owner = recorded.owner_of(here) if self._recorded else None
            node = node_of(os.fstat(fd), Kind.DIR, xattrs=xattrs.read(here), owner=owner)
        return replace(node, identity=None)

    def _is_directory(self, path: str) -> bool:
        if not path:
            return True
        node = self.lookup(path)
        return node is not None and node.kind is Kind.DIR

    def _read(self, path: str) -> Listing:
        nodes: dict[str, Node] = {}
        stamps: dict[str, int] = {}
        whiteouts: list[str] = []
        sockets: list[str] = []
        with self._anchor.listing(path) as fd:
            opaque = any(
                xattrs.value(inside(fd, "."), name) == b"y" for name in (OPAQUE, MARKED_OPAQUE)
            )
            with os.scandir(fd) as entries:
                found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
            links = recorded.links_of(inside(fd, ".")) if self._recorded else {}
            for name, status in found:
                kind = kind_of(status)
                if kind is None:
                    sockets.append(name)
                elif _is_whiteout(fd, name, status, kind):
                    whiteouts.append(name)
                else:
                    node = _node(fd, name, status, kind)
                    stamps[name] = status.st_ctime_ns
                    nodes[name] = _owned(fd, name, node, links) if self._recorded else node
        return Listing(
            nodes=nodes,
            stamps=stamps,
            whiteouts=frozenset(whiteouts),
            opaque=opaque,
            sockets=tuple(sockets),
        )


def _is_whiteout(fd: int, name: str, status: os.stat_result, kind: Kind) -> bool:
    if kind is Kind.CHAR and status.st_rdev == 0:
        return True
    return is_marked(fd, os.fsencode(name), status)


def is_marked(directory: int, name: bytes, status: os.stat_result) -> bool:
    """Whether an empty file stands for a whiteout."""
    if status.st_size or not stat.S_ISREG(status.st_mode):
        return False
    return xattrs.value(inside(directory, os.fsdecode(name)), MARKED_WHITEOUT) is not None


def _node(fd: int, name: str, status: os.stat_result, kind: Kind) -> Node:
    link = os.readlink(name, dir_fd=fd) if kind is Kind.SYMLINK else ""
    path = inside(fd, name)
    names = xattrs.listed(path)
    if not names:
        return node_of(status, kind, link=link)
    node = node_of(status, kind, link=link, xattrs=xattrs.read(path, names))
    return _as_device(node, path) if DEVICE in names and not status.st_size else node


def _owned(fd: int, name: str, node: Node, links: Links) -> Node:
    """With the owner that was noted of it."""
    if _can_carry(node):
        noted = recorded.owner_of(inside(fd, name))
    else:
        noted = ownernotes.owner_of_link(links, os.fsencode(name))
    return node if noted is None else replace(node, uid=noted[0], gid=noted[1])


def _can_carry(node: Node) -> bool:
    """Devices are shown by files."""
    return node.kind not in (Kind.SYMLINK, Kind.FIFO)


def _as_device(node: Node, path: str) -> Node:
    """The device that an empty file stands for."""
    found = _DEVICE.fullmatch((xattrs.value(path, DEVICE) or b"").decode("ascii", "replace"))
    if found is None or node.kind is not Kind.REG:
        return node
    kind = Kind.CHAR if found[1] == "c" else Kind.BLOCK
    return replace(node, kind=kind, major=int(found[2]), minor=int(found[3]), identity=None)
