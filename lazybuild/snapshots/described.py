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
