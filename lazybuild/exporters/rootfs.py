"""The files of an image as one tar archive: what a container would see, without layers.

Deterministic: names in walk order, whole seconds, hard links to the first of their names. Owners,
modes and attributes are kept; device nodes, too, since an archive only describes them.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO

from lazybuild.errors import IntegrityError
from lazybuild.estargz import tarwrite
from lazybuild.estargz.entry import Entry, Kind
from lazybuild.estargz.names import shown
from lazybuild.snapshots.tree import Node, Tree, entry_of, walk

_PIECE = 1 << 20


def export(tree: Tree, out: BinaryIO, *, epoch: int | None = None) -> None:
    """Write the tree; no time is later than `epoch` (seconds)."""
    export_each({"": tree}, out, epoch=epoch)


def export_each(trees: Mapping[str, Tree], out: BinaryIO, *, epoch: int | None = None) -> None:
    """Write each tree into a directory of its name; "" is the top."""
    for name, tree in trees.items():
        if name:
            out.write(tarwrite.header(Entry(name=name, kind=Kind.DIR, mode=0o755)))
        for entry in entries(tree, epoch=epoch):
            out.write(tarwrite.header(_below(name, entry)))
            if entry.kind is Kind.REG and entry.size:
                _copy(tree, entry, out)
    out.write(tarwrite.END)


def _below(directory: str, entry: Entry) -> Entry:
    """The entry under another name. A hard link names a file of the archive, a symbolic one not."""
    if not directory:
        return entry
    link = f"{directory}/{entry.link}" if entry.kind is Kind.HARDLINK else entry.link
    return replace(entry, name=f"{directory}/{entry.name}", link=link)


def entries(tree: Tree, *, epoch: int | None = None) -> Iterator[Entry]:
    """Everything but the root, each directory before what it holds."""
    first: dict[Hashable, str] = {}
    for name, node in walk(tree):
        if name:
            yield _clamped(_entry(name, node, first), epoch)


def _entry(name: str, node: Node, first: dict[Hashable, str]) -> Entry:
    entry = entry_of(name, node)
    if node.kind is not Kind.REG or node.identity is None:
        return entry
    known = first.setdefault(node.identity, name)
    return entry if known == name else replace(entry, kind=Kind.HARDLINK, link=known, size=0)


def _clamped(entry: Entry, epoch: int | None) -> Entry:
    limit = None if epoch is None else epoch * 1_000_000_000
    return entry if limit is None or entry.mtime <= limit else replace(entry, mtime=limit)


def _copy(tree: Tree, entry: Entry, out: BinaryIO) -> None:
    left = entry.size
    with tree.open(entry.name) as stream:
        while left and (piece := stream.read(min(left, _PIECE))):
            out.write(piece)
            left -= len(piece)
    if left:
        raise IntegrityError(f"/{shown(entry.name)} ends {left} bytes early")
    out.write(tarwrite.padding(entry.size))
