"""From what the kernel says of a file to a `Node`. An edge, shared by trees of real directories."""

import os
import stat
from collections.abc import Mapping

from lazybuild.estargz.entry import NO_XATTRS, Kind
from lazybuild.snapshots.tree import Node

_KINDS = {
    stat.S_IFDIR: Kind.DIR,
    stat.S_IFREG: Kind.REG,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHAR,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFIFO: Kind.FIFO,
}


def kind_of(found: os.stat_result) -> Kind | None:
    """The kind of a file; None for a socket, which no image holds."""
    return _KINDS.get(stat.S_IFMT(found.st_mode))


def node_of(
    found: os.stat_result,
    kind: Kind,
    *,
    link: str = "",
    owner: tuple[int, int] | None = None,
    xattrs: Mapping[str, bytes] = NO_XATTRS,
) -> Node:
    uid, gid = owner if owner is not None else (found.st_uid, found.st_gid)
    device = found.st_rdev
    linked = kind is not Kind.DIR and found.st_nlink > 1
    return Node(
        kind=kind,
        mode=0o777 if kind is Kind.SYMLINK else stat.S_IMODE(found.st_mode),
        uid=uid,
        gid=gid,
        size=found.st_size if kind is Kind.REG else 0,
        mtime=found.st_mtime_ns,
        link=link,
        major=os.major(device) if device else 0,
        minor=os.minor(device) if device else 0,
        xattrs=xattrs,
        identity=(found.st_dev, found.st_ino) if linked else None,
    )
