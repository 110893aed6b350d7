"""What a COPY takes, as one digest: equal content gives an equal digest, wherever it comes from.

An engine over `Tree`. Counted are kind, mode, owner, size, link target, device numbers, extended
attributes and bytes; not counted are times, inode numbers and link counts (the rules of BuildKit's
cache/contenthash, a tarsum-like hash per file and names relative at the level of a directory).
A selection by wildcard or patterns counts just what matched.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lazybuild.estargz.entry import Kind
from lazybuild.snapshots import paths
from lazybuild.snapshots.patterns import Patterns
from lazybuild.snapshots.select import expand, selected
from lazybuild.snapshots.tree import Node, Tree, resolve, walk

_VERSION = b"lazybuild-content-1\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A part of a tree as a COPY or a mount names it."""

    path: str
    wildcard: bool = False
    follow: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


def content_digest(tree: Tree, selection: Selection) -> str:
    """`sha256:<hex>` over what `selection` names in `tree`; a missing name counts as such."""
    total = hashlib.sha256(_VERSION)
    for found in _matches(tree, selection):
        top = resolve(tree, found, follow_last=selection.follow)
        _field(total, paths.base(found) if selection.wildcard else "")
        _field(total, _subtree(tree, top, selection))
    return "sha256:" + total.hexdigest()


def _matches(tree: Tree, selection: Selection) -> Sequence[str]:
    if selection.wildcard:
        return expand(tree, selection.path, follow=selection.follow)
    return (selection.path,)


def _subtree(tree: Tree, top: str, selection: Selection) -> bytes:
    if selection.include or selection.exclude:
        include, exclude = Patterns(selection.include), Patterns(selection.exclude)
        found: Iterator[tuple[str, Node]] = (
            (path, node) for path, node, _ in selected(tree, top, include=include, exclude=exclude)
        )
    else:
        found = walk(tree, top)
    total = hashlib.sha256()
    for path, node in found:
        name = path[len(top) :].strip("/").encode("utf-8", "surrogateescape")
        total.update(b"%d:%s%s" % (len(name), name, file_digest(tree, path, node)))
    return total.digest()


def file_digest(tree: Tree, path: str, node: Node) -> bytes:
    """One file's share, without its name."""
    header = (
        f"{node.kind}\0{node.mode:o}\0{node.uid}\0{node.gid}\0{node.size}\0"
        f"{node.major}\0{node.minor}\0{node.link}\0"
    ).encode("utf-8", "surrogateescape")
    if node.xattrs:
        header += b"".join(_attribute(name, node.xattrs[name]) for name in sorted(node.xattrs))
    if node.kind is Kind.REG and node.size:
        header += tree.digest(path).encode()
    return hashlib.sha256(header).digest()


def _attribute(name: str, value: bytes) -> bytes:
    return f"{name}={len(value)}:".encode("utf-8", "surrogateescape") + value


def _field(total: "hashlib._Hash", value: str | bytes) -> None:
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    total.update(b"%d:" % len(data) + data)
