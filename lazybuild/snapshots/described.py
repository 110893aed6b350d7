"""Nodes of trees in the words of BuildKit's file transfer (fsutil). Pure.

Loads `wire`, and so protobuf: for those only who speak with a BuildKit or a frontend.
"""

from lazybuild.estargz.entry import Kind
from lazybuild.snapshots.tree import Node
from lazybuild.wire.filesync import GO_CHAR, GO_DEVICE, GO_DIR, GO_FIFO, GO_SYMLINK, SentFile

_KINDS = {
    Kind.DIR: GO_DIR,
    Kind.SYMLINK: GO_SYMLINK,
    Kind.FIFO: GO_FIFO,
    Kind.CHAR: GO_DEVICE | GO_CHAR,
    Kind.BLOCK: GO_DEVICE,
}
_NODES = {0: Kind.REG} | {bits: kind for kind, bits in _KINDS.items()}


def described(path: str, node: Node) -> SentFile:
    return SentFile(
        path=path,
        mode=node.mode,
        kind=_KINDS.get(node.kind, 0),
        uid=node.uid,
        gid=node.gid,
        size=node.size,
        mtime=node.mtime,
        link=node.link,
    )


def node_of(file: SentFile) -> Node | None:
    """None for what no image can hold: a socket."""
    kind = _NODES.get(file.kind)
    if kind is None:
        return None
    return Node(
        kind=kind,
        mode=file.mode,
        uid=file.uid,
        gid=file.gid,
        size=file.size,
        mtime=file.mtime,
        link=file.link,
    )
