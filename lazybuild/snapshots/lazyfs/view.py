"""All layers of one mount as nodes: the root with a folder for each layer, and what is in them.

Translates node numbers to (layer, inode) and back, and answers all that needs no file's bytes.
The high 32 bits of a node are the layer's slot (0: the root itself), the low 32 its inode. Layers
are added while the file system is in use and never taken away. Safe to use from any thread.
"""

import stat
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lazybuild.linux import idspace, ownernotes
from lazybuild.snapshots.lazyfs import protocol
from lazybuild.snapshots.lazyfs.layer import LazyLayer
from lazybuild.snapshots.lazyfs.protocol import ROOT_NODE
from lazybuild.snapshots.lazyfs.tree import ROOT, Attributes, Tree

_SLOT_SHIFT = 32
_INODE = (1 << _SLOT_SHIFT) - 1
OWNER, LINKS = ownernotes.OWNER.encode(), ownernotes.LINKS.encode()


@dataclass(slots=True, kw_only=True, eq=False)
class Shown:
    """A layer in its slot. `seen` marks the inodes that have been read."""

    layer: LazyLayer
    slot: int
    seen: bytearray = field(init=False)

    def __post_init__(self) -> None:
        self.seen = bytearray(len(self.layer.tree))

    def node(self, ino: int) -> int:
        return self.slot << _SLOT_SHIFT | ino


class View:
    """The nodes of one mount. A node that no answer ever contained raises LookupError.

    With `one_id` all is root's, and what it should be is an attribute (`ownernotes`).
    """

    def __init__(self, *, one_id: bool | None = None) -> None:
        self.one_id = idspace.only_one() if one_id is None else one_id
        self._lock = threading.Lock()
        self._shown: list[Shown | None] = [None]
        self._by_name: dict[bytes, Shown] = {}
        self._order: list[tuple[Shown, int]] = []

    def add(self, name: str, layer: LazyLayer) -> Shown:
        with self._lock:
            known = self._by_name.get(name.encode())
            if known is not None:
                return known
            shown = Shown(layer=layer, slot=len(self._shown))
            self._shown.append(shown)
            self._by_name[name.encode()] = shown
            return shown

    def at(self, node: int) -> tuple[Shown, int]:
        shown = self._shown[node >> _SLOT_SHIFT]
        if shown is None:
            raise LookupError(node)
        return shown, node & _INODE

    def trace(self, start: int = 0) -> list[tuple[LazyLayer, int]]:
        """(layer, inode) in the order of first reads, from the `start`-th on."""
        return [(shown.layer, ino) for shown, ino in self._order[start:]]

    def note_read(self, shown: Shown, ino: int) -> bool:
        """True the first time."""
        if shown.seen[ino]:
            return False
        with self._lock:
            first = not shown.seen[ino]
            if first:
                shown.seen[ino] = 1
                self._order.append((shown, ino))
            return first

    # answers

    def lookup(self, node: int, name: bytes) -> bytes:
        if node == ROOT_NODE:
            return self._lookup_layer(name)
        shown, ino = self.at(node)
        found = shown.layer.tree.lookup(ino, name)
        if not found:
            return protocol.absent_out(forever=True)
        return protocol.entry_out(shown.node(found), self._attributes(shown.layer.tree, found))

    def _lookup_layer(self, name: bytes) -> bytes:
        shown = self._by_name.get(name)
        if shown is None:
            return protocol.absent_out(forever=False)
        return protocol.entry_out(shown.node(ROOT), self._attributes(shown.layer.tree, ROOT))

    def attributes(self, node: int) -> bytes:
        if node == ROOT_NODE:
            return protocol.attributes_out(ROOT_NODE, self._root_attributes())
        shown, ino = self.at(node)
        return protocol.attributes_out(node, self._attributes(shown.layer.tree, ino))

    def link(self, node: int) -> bytes:
        shown, ino = self.at(node)
        return shown.layer.tree.link(ino)

    def xattr(self, node: int, name: bytes) -> bytes | None:
        if node == ROOT_NODE:
            return None
        shown, ino = self.at(node)
        return self._xattrs(shown.layer.tree, ino).get(name)

    def xattr_names(self, node: int) -> bytes:
        if node == ROOT_NODE:
            return b""
        shown, ino = self.at(node)
        return b"".join(name + b"\0" for name in self._xattrs(shown.layer.tree, ino))

    def _attributes(self, tree: Tree, ino: int) -> Attributes:
        found = tree.attributes(ino)
        return found._replace(uid=0, gid=0) if self.one_id else found

    def _xattrs(self, tree: Tree, ino: int) -> Mapping[bytes, bytes]:
        return {**tree.xattrs(ino), **_notes(tree, ino)} if self.one_id else tree.xattrs(ino)

    def statfs(self) -> bytes:
        return protocol.statfs_out(sum(len(s.layer.tree) for s in self._shown if s))

    def directory(self, node: int, start: int, size: int, *, plus: bool) -> bytes:
        """As many entries from position `start` as fit into `size` bytes."""
        parts, used = list[bytes](), 0
        for record in self._records(node, start, plus=plus):
            used += len(record)
            if used > size:
                break
            parts.append(record)
        return b"".join(parts)

    def _records(self, node: int, start: int, *, plus: bool) -> Iterator[bytes]:
        dot = protocol.dirent_bare if plus else protocol.dirent
        for position, name in ((1, b"."), (2, b"..")):
            if start < position:
                yield dot(node, position, stat.S_IFDIR, name)
        if node != ROOT_NODE:
            yield from self._children(node, max(0, start - 2), plus=plus)

    def _children(self, node: int, start: int, *, plus: bool) -> Iterator[bytes]:
        shown, directory = self.at(node)
        tree = shown.layer.tree
        for position, name, ino in tree.children(directory, start):
            child = shown.node(ino)
            if plus:
                yield protocol.dirent_plus(child, position + 2, self._attributes(tree, ino), name)
            else:
                yield protocol.dirent(child, position + 2, tree.mode(ino), name)

    def _root_attributes(self) -> Attributes:
        return Attributes(0, 0, stat.S_IFDIR | 0o755, 2 + len(self._by_name), 0, 0, 0)


def _notes(tree: Tree, ino: int) -> Mapping[bytes, bytes]:
    """Who owns it, and the links in it, which can't say so themselves."""
    notes: dict[bytes, bytes] = {}
    owner = _owner(tree, ino)
    if owner != ownernotes.ROOT:
        notes[OWNER] = ownernotes.encode(owner)
    if stat.S_ISDIR(tree.mode(ino)):
        links = {
            name: _owner(tree, child)
            for _, name, child in tree.children(ino, 0)
            if stat.S_IFMT(tree.mode(child)) in (stat.S_IFLNK, stat.S_IFIFO)
            and _owner(tree, child) != ownernotes.ROOT
        }
        if links:
            notes[LINKS] = ownernotes.encode_links(links)
    return notes


def _owner(tree: Tree, ino: int) -> ownernotes.Owner:
    found = tree.attributes(ino)
    return found.uid, found.gid
