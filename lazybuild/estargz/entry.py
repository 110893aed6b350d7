"""One file of a layer as a value: what a tar header or a TOC entry says, without the bytes.

Names are `str` decoded with surrogateescape, relative to the layer's root, without a leading or
trailing slash and without "." or ".." parts; the root itself is "". Pure; knows no format.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import BinaryIO

NO_XATTRS: Mapping[str, bytes] = MappingProxyType({})


class Kind(StrEnum):
    """The words are the TOC's (facts: stargz-snapshotter docs/estargz.md, "TOCEntry type")."""

    DIR = "dir"
    REG = "reg"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    CHAR = "char"
    BLOCK = "block"
    FIFO = "fifo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file in a layer.

    `mode` is permission bits with setuid, setgid and sticky (0..0o7777), `size` bytes of a regular
    file, `mtime` nanoseconds since the epoch, `link` the target of a symlink as it stands or of a
    hard link as an entry name. Whiteouts are regular files named ".wh.NAME", an opaque directory
    holds ".wh..wh..opq" (OCI image spec, layer.md).
    """

    name: str
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    uname: str = ""
    gname: str = ""
    size: int = 0
    mtime: int = 0
    link: str = ""
    major: int = 0
    minor: int = 0
    xattrs: Mapping[str, bytes] = field(default_factory=lambda: NO_XATTRS)


Opener = Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True)
class Item:
    """An entry and how to get at its bytes; `open` is None for all but non-empty regular files.

    `digest`, where it is known, gives `sha256:<hex>` of the bytes for less than reading them.
    """

    entry: Entry
    open: Opener | None = None
    digest: Callable[[], str] | None = None
