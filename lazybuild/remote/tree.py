"""The files of a result that lies with a BuildKit, as a `Tree`: asked for, not carried here.

A directory is listed once. What the daemon answers is not trusted to be a name.
"""

import hashlib
from collections.abc import Mapping, Sequence
from tempfile import TemporaryFile
from typing import BinaryIO

from lazybuild.estargz.entry import Kind
from lazybuild.snapshots import paths
from lazybuild.snapshots.described import node_of
from lazybuild.snapshots.tree import ROOT, Node, not_a_file
from lazybuild.wire.gateway import Gateway

PIECE = 4 << 20


class RemoteTree:
    """`ref` is a result that the gateway knows. Raises RemoteError when the daemon fails."""

    def __init__(self, gateway: Gateway, ref: str) -> None:
        self._gateway = gateway
        self._ref = ref
        self._listed: dict[str, Mapping[str, Node]] = {}

    def lookup(self, path: str) -> Node | None:
        if not path:
            return ROOT
        return self._names(paths.parent(path)).get(paths.base(path))

    def children(self, path: str) -> Sequence[str]:
        return sorted(self._names(path), key=lambda name: name.encode("utf-8", "surrogateescape"))

    def open(self, path: str) -> BinaryIO:
        node = self.lookup(path)
        if node is None or node.kind is not Kind.REG:
            raise not_a_file(path)
        file = TemporaryFile()  # noqa: SIM115 - its reader closes it
        for offset in range(0, node.size, PIECE):
            length = min(PIECE, node.size - offset)
            file.write(self._gateway.read_file(self._ref, path, offset=offset, length=length))
        file.seek(0)
        return file

    def digest(self, path: str) -> str:
        with self.open(path) as file:
            hashed = hashlib.sha256()
            while data := file.read(PIECE):
                hashed.update(data)
        return f"sha256:{hashed.hexdigest()}"

    def _names(self, path: str) -> Mapping[str, Node]:
        if path not in self._listed:
            node = self.lookup(path)
            is_directory = node is not None and node.kind is Kind.DIR
            self._listed[path] = self._ask(path) if is_directory else {}
        return self._listed[path]

    def _ask(self, path: str) -> Mapping[str, Node]:
        found = ((file.path, node_of(file)) for file in self._gateway.files(self._ref, path or "/"))
        return {name: node for name, node in found if node and _is_name(name)}


def _is_name(text: str) -> bool:
    return bool(text) and paths.clean(paths.base(text)) == text
