"""In-memory trees and short ways to say what a file action does."""

import hashlib
import io
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from lazybuild.estargz.entry import Item, Kind
from lazybuild.llb.ops import (
    NO_INPUT,
    Action,
    CopyAction,
    FileAction,
    FileOp,
)
from lazybuild.snapshots import paths
from lazybuild.snapshots.fileop import apply
from lazybuild.snapshots.tree import ROOT, Node, Tree

NOW = 1_700_000_000_000_000_000


class MemTree:
    """A `LayerTree` from a mapping: bytes make a file, a `Node` anything else, "->x" a link,
    None a directory. Whiteouts and opaque directories are given apart."""

    def __init__(
        self,
        files: dict[str, object],
        *,
        whiteouts: Iterable[str] = (),
        opaque: Iterable[str] = (),
    ) -> None:
        self.bytes: dict[str, bytes] = {}
        self.nodes: dict[str, Node] = {"": ROOT}
        for path, value in files.items():
            for above in paths.ancestors(path):
                self.nodes.setdefault(above, Node(kind=Kind.DIR, mode=0o755))
            self.nodes[path] = self._node(path, value)
        self.gone = set(whiteouts)
        self.covered = set(opaque)

    def _node(self, path: str, value: object) -> Node:
        if isinstance(value, tuple):
            self.bytes[path], node = value
            return node
        if isinstance(value, Node):
            return value
        if isinstance(value, bytes):
            self.bytes[path] = value
            return Node(kind=Kind.REG, mode=0o644, size=len(value))
        if isinstance(value, str):
            return Node(kind=Kind.SYMLINK, mode=0o777, link=value.removeprefix("->"))
        return Node(kind=Kind.DIR, mode=0o755)

    def lookup(self, path: str) -> Node | None:
        return self.nodes.get(path)

    def children(self, path: str) -> Sequence[str]:
        found = {paths.base(p) for p in self.nodes if p and paths.parent(p) == path}
        return sorted(found, key=paths.sort_key)

    def open(self, path: str) -> BinaryIO:
        return io.BytesIO(self.bytes[path])

    def digest(self, path: str) -> str:
        return "sha256:" + hashlib.sha256(self.bytes[path]).hexdigest()

    def whiteouts(self, path: str) -> set[str]:
        return {paths.base(p) for p in self.gone if paths.parent(p) == path}

    def opaque(self, path: str) -> bool:
        return path in self.covered

    def leftovers(self, path: str) -> Sequence[str]:
        return ()


def copy(src: str, dest: str, **more: object) -> CopyAction:
    """As the Dockerfile frontend shapes a COPY."""
    shape: dict[str, object] = {
        "follow_symlink": True,
        "dir_copy_contents": True,
        "create_dest_path": True,
        "allow_wildcard": True,
        "allow_empty_wildcard": True,
    }
    return CopyAction(src=src, dest=dest, **{**shape, **more})


def run(*actions: Action, source: Tree | None = None, base: Tree | None = None) -> list[Item]:
    """The layer that actions make, one after another, over `base` (scratch if None)."""
    inputs = [tree for tree in (source, base) if tree is not None]
    second = 0 if source is not None else NO_INPUT
    start = inputs.index(base) if base is not None else NO_INPUT
    steps = [
        FileAction(
            action=action,
            input=start if number == 0 else len(inputs) + number - 1,
            secondary_input=second if isinstance(action, CopyAction) else NO_INPUT,
            output=0 if number == len(actions) - 1 else -1,
        )
        for number, action in enumerate(actions)
    ]
    return list(apply(FileOp(actions=tuple(steps)), inputs, now=lambda: NOW)[0].items())


def names(items: Iterable[Item]) -> list[str]:
    return [item.entry.name for item in items]


def content(items: Iterable[Item]) -> dict[str, bytes]:
    """The regular files of a layer and their bytes."""
    found: dict[str, bytes] = {}
    for item in items:
        if item.entry.kind is Kind.REG:
            stream = item.open() if item.open else io.BytesIO()
            with stream:
                found[item.entry.name] = stream.read()
    return found
