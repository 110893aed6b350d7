"""File trees as values and questions: `Node`, the `Tree` and `LayerTree` seams, path resolution.

An engine: knows neither where a tree's bytes come from nor how it is mounted. Implementations are
in `dirtree` (directories in overlay format), `toctree` (eStargz), `hosttree` (the build context),
`merged` (layers over one another) and `draft` (a layer that is being made).
"""

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from lazybuild.errors import BuildError
from lazybuild.estargz.entry import NO_XATTRS, Entry, Kind
from lazybuild.snapshots import paths

MAX_LINKS = 40  # what Linux allows in one resolution


def no_xattrs() -> Mapping[str, bytes]:
    return NO_XATTRS


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A file without its name and bytes. `mtime` in nanoseconds, `mode` permission bits only.

    `identity` is equal for two names of one file (hard links) inside one tree, None for a file
    that has only one name. The kind is never HARDLINK.
    """

    kind: Kind
    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link: str = ""
    major: int = 0
    minor: int = 0
    xattrs: Mapping[str, bytes] = field(default_factory=no_xattrs)
    identity: Hashable = None


ROOT = Node(kind=Kind.DIR, mode=0o755)


class Tree(Protocol):
    """A file tree. Names are as in `paths`; no method follows a symbolic link."""

    def lookup(self, path: str) -> Node | None: ...

    def children(self, path: str) -> Sequence[str]:
        """The names in a directory, in bytewise order; () if it is none."""
        ...

    def open(self, path: str) -> BinaryIO:
        """The bytes of a regular file. Raises BuildError if it is none."""
        ...

    def digest(self, path: str) -> str:
        """sha256 of the bytes of a regular file: `sha256:<hex>`."""
        ...


class LayerTree(Tree, Protocol):
    """One layer: its own files, and what it hides of the layers below it."""

    def whiteouts(self, path: str) -> Collection[str]:
        """The names that the layer removes from the directory `path`."""
        ...

    def opaque(self, path: str) -> bool:
        """Whether nothing of the directory `path` below this layer can be seen."""
        ...

    def leftovers(self, path: str) -> Sequence[str]:
        """Names in the directory `path` that no image can hold: sockets."""
        ...


class EmptyTree:
    """The tree of scratch."""

    def lookup(self, path: str) -> Node | None:
        return None if path else ROOT

    def children(self, path: str) -> Sequence[str]:
        del path
        return ()

    def open(self, path: str) -> BinaryIO:
        raise not_a_file(path)

    def digest(self, path: str) -> str:
        raise not_a_file(path)


def not_a_file(path: str) -> BuildError:
    return BuildError(f"/{path}: not a regular file")


def entry_of(name: str, node: Node) -> Entry:
    """The entry that stands for a node under a name."""
    return Entry(
        name=name,
        kind=node.kind,
        mode=node.mode,
        uid=node.uid,
        gid=node.gid,
        size=node.size if node.kind is Kind.REG else 0,
        mtime=node.mtime,
        link=node.link if node.kind is Kind.SYMLINK else "",
        major=node.major,
        minor=node.minor,
        xattrs=node.xattrs,
    )


def walk(tree: Tree, top: str = "") -> Iterator[tuple[str, Node]]:
    """`top` and all below it, each directory directly before what it holds. No recursion."""
    stack = [top]
    while stack:
        path = stack.pop()
        node = tree.lookup(path)
        if node is None:
            continue
        yield path, node
        if node.kind is Kind.DIR:
            lead = f"{path}/" if path else ""
            stack += [lead + name for name in reversed(tree.children(path))]


def resolve(tree: Tree, path: str, *, follow_last: bool = True) -> str:
    """The name that `path` leads to, symbolic links followed as if the tree were "/".

    Parts that don't exist are taken as they stand, so the result need not exist; ".." steps back
    from where a link led to and stops at the root. More than 40 links are an error.
    """
    pending = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    done, links = "", 0
    while pending:
        part = pending.pop()
        if part == "..":
            done = paths.parent(done)
            continue
        name = paths.join(done, part)
        node = tree.lookup(name)
        if node is None or node.kind is not Kind.SYMLINK or not (pending or follow_last):
            done = name
            continue
        links += 1
        if links > MAX_LINKS:
            raise BuildError(f"{path}: too many levels of symbolic links")
        if node.link.startswith("/"):
            done = ""
        pending.extend(part for part in reversed(node.link.split("/")) if part not in ("", "."))
    return done
