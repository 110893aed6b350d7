"""A layer that is being made over a base, as a tree and, in the end, as items. An engine.

What was put in stands in memory without its bytes; they are read when the layer is written. A path
is put only where its directory is; the callers see to it (`fileop`, `copy`).
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, Protocol

from lazybuild.errors import BuildError
from lazybuild.estargz.entry import Entry, Item, Kind
from lazybuild.snapshots import paths
from lazybuild.snapshots.owners import Ids
from lazybuild.snapshots.tree import Node, Tree, entry_of, not_a_file

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"


class Content(Protocol):
    """The bytes of a file, wherever they are."""

    def open(self) -> BinaryIO: ...

    def digest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class FileOf:
    """The bytes of a file of a tree."""

    tree: Tree
    path: str

    def open(self) -> BinaryIO:
        return self.tree.open(self.path)

    def digest(self) -> str:
        return self.tree.digest(self.path)


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes at hand."""

    data: bytes

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)

    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.data).hexdigest()


class Draft:
    """A `Tree`: the base with changes. `items` are the changes as a layer."""

    def __init__(self, base: Tree) -> None:
        self._base = base
        self._nodes: dict[str, Node] = {}
        self._contents: dict[str, Content] = {}
        self._made: dict[str, set[str]] = {}  # names put into a directory
        self._cut: set[str] = set()  # names whose base can't be seen any more

    def copy(self) -> "Draft":
        """An independent draft with the same changes."""
        other = Draft(self._base)
        other._nodes, other._contents = dict(self._nodes), dict(self._contents)
        other._made = {path: set(names) for path, names in self._made.items()}
        other._cut = set(self._cut)
        return other

    def lookup(self, path: str) -> Node | None:
        node = self._nodes.get(path)
        if node is not None:
            return node
        return self._base.lookup(path) if self._base_seen(path) else None

    def children(self, path: str) -> Sequence[str]:
        names = set(self._made.get(path, ()))
        made = self._nodes.get(path)
        if self._base_seen(path) and (made is None or made.kind is Kind.DIR):
            below = self._base.children(path)
            if not names and not self._cut:
                return below
            names.update(name for name in below if paths.join(path, name) not in self._cut)
        return sorted(names, key=paths.sort_key)

    def open(self, path: str) -> BinaryIO:
        return self.content(path).open()

    def digest(self, path: str) -> str:
        return self.content(path).digest()

    def put(self, path: str, node: Node, content: Content | None = None) -> None:
        """Make or replace one name; a directory keeps what is in it."""
        if paths.base(path).startswith(WHITEOUT):
            raise BuildError(f"/{path}: no layer can hold a name that begins with {WHITEOUT}")
        self._nodes[path] = node
        if path:
            self._made.setdefault(paths.parent(path), set()).add(paths.base(path))
        self._contents.pop(path, None)
        if content is not None:
            self._contents[path] = content

    def remove(self, path: str) -> None:
        """Take away a name and all below it."""
        self._forget(path)
        if self._base_seen(path) and self._base.lookup(path) is not None:
            self._cut.add(path)

    def items(self) -> Iterator[Item]:
        """The layer, each directory directly before what it holds."""
        first: dict[object, str] = {}
        for path in sorted(self._touched(), key=paths.sort_key):
            node = self._nodes.get(path)
            if node is not None:
                yield self._item(path, node, first)
                if node.kind is Kind.DIR and path in self._cut:
                    yield Item(_marker(paths.join(path, OPAQUE)))
            elif path in self._cut:
                name = WHITEOUT + paths.base(path)
                yield Item(_marker(paths.join(paths.parent(path), name)))
            else:
                yield Item(entry_of(path, self._leading(path)))

    def _touched(self) -> set[str]:
        changed = (self._nodes.keys() | self._cut) - {""}
        holders = {paths.parent(path) for path in changed} - {""}
        return changed | holders | {above for path in holders for above in paths.ancestors(path)}

    def _leading(self, path: str) -> Node:
        node = self._base.lookup(path)
        if node is None or node.kind is not Kind.DIR:
            raise AssertionError(f"a change below {path!r}, which is no directory")
        return replace(node, identity=None)

    def _item(self, path: str, node: Node, first: dict[object, str]) -> Item:
        if node.identity is not None and node.kind is Kind.REG:
            target = first.setdefault(node.identity, path)
            if target != path:
                return Item(replace(entry_of(path, node), kind=Kind.HARDLINK, link=target, size=0))
        content = self._contents.get(path)
        if content is None or not node.size:
            return Item(entry_of(path, node))
        return Item(entry_of(path, node), content.open, content.digest)

    def content(self, path: str) -> Content:
        """The bytes of a regular file, to be put under another name."""
        content = self._contents.get(path)
        if content is not None:
            return content
        if path in self._nodes or not self._base_seen(path):
            raise not_a_file(path)
        return FileOf(self._base, path)

    def _forget(self, path: str) -> None:
        pending = [path]
        while pending:
            name = pending.pop()
            pending.extend(paths.join(name, below) for below in self._made.pop(name, ()))
            self._nodes.pop(name, None)
            self._contents.pop(name, None)
        if self._cut:
            self._cut = {cut for cut in self._cut if not cut.startswith(path + "/")}
        self._made.get(paths.parent(path), set()).discard(paths.base(path))

    def _base_seen(self, path: str) -> bool:
        """Whether neither `path` nor a directory above it hides what the base has there."""
        if not self._cut:
            return True
        return path not in self._cut and not any(
            above in self._cut for above in paths.ancestors(path)
        )


def make_directories(draft: Draft, path: str, *, mode: int, ids: Ids | None, mtime: int) -> None:
    """Make `path` and what is missing above it; what is there stays as it is."""
    owner = ids or Ids(0, 0)
    for directory in (*paths.ancestors(path), path):
        node = draft.lookup(directory)
        if node is None:
            made = Node(kind=Kind.DIR, mode=mode, uid=owner.uid, gid=owner.gid, mtime=mtime)
            draft.put(directory, made)
        elif node.kind is not Kind.DIR:
            raise BuildError(f"mkdir /{path}: /{directory} is not a directory")


def _marker(name: str) -> Entry:
    return Entry(name=name, kind=Kind.REG, mode=0)
