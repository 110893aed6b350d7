"""The inode table of one lazy layer: what `stat`, `lookup` and `readdir` of it answer.

Owns the meaning of a TOC as a directory tree in overlay's own format: whiteouts are character
devices 0:0, opaque directories carry `user.overlay.opaque=y`, hard links share an inode, what the
TOC leaves out is made up (missing parents: 0755 root). Must not know FUSE, files or sockets.

A layer may have half a million entries, so that everything is held in flat arrays indexed by
inode. Inode 1 is the root, the others count in the order in which the TOC first needs them: the
same TOC always gives the same numbers. Names are bytes. Values only: a `Tree` never changes and
may be read from any thread.
"""

import stat
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

ROOT = 1
OPAQUE = b"user.overlay.opaque"

_NO_XATTRS: Mapping[bytes, bytes] = {}


class Attributes(NamedTuple):
    """What `stat` says; `mtime` in nanoseconds."""

    size: int
    mtime: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int


@dataclass(frozen=True, slots=True)
class Piece:
    """The part `start:end` of a chunk's plain bytes."""

    chunk: int
    start: int
    end: int


@dataclass(slots=True, kw_only=True)
class Columns:
    """One value per inode; index 0 is unused. Filled by `TreeBuilder`, then left alone."""

    mode: "array[int]"
    uid: "array[int]"
    gid: "array[int]"
    nlink: "array[int]"
    rdev: "array[int]"
    size: "array[int]"
    mtime: "array[int]"
    first: "array[int]"  # of a regular file, its first chunk; of a directory, its first name
    count: "array[int]"  # how many of them
    parent: "array[int]"
    name: "array[int]"  # position of one of its names in `Names`


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """All names, those of one directory side by side and sorted; `ends` cut `text`."""

    text: bytes
    ends: "array[int]"  # ends[i] is the start of name i, ends[i + 1] its end
    inode: "array[int]"

    def __getitem__(self, position: int) -> bytes:
        return self.text[self.ends[position] : self.ends[position + 1]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunks:
    """One value per chunk, the chunks of a file side by side in the order of the file."""

    offset: "array[int]"  # of the compressed member in the blob
    end: "array[int]"
    inner: "array[int]"  # where the chunk begins in the plain bytes of the member
    position: "array[int]"  # where the chunk begins in its file
    size: "array[int]"
    digest: bytearray  # 32 bytes for each
    unverified: AbstractSet[int] = frozenset()  # chunks whose digest is only a name

    def __len__(self) -> int:
        return len(self.offset)

    def digest_of(self, chunk: int) -> bytes:
        return bytes(self.digest[chunk * 32 : chunk * 32 + 32])


class Tree:
    """A layer as inodes. All answers are for valid inodes of this tree; others raise IndexError."""

    __slots__ = ("_columns", "_names", "_xattrs", "chunks", "landmark")

    def __init__(
        self,
        *,
        columns: Columns,
        names: Names,
        chunks: Chunks,
        xattrs: Mapping[int, Mapping[bytes, bytes]],
        landmark: int = 0,
    ) -> None:
        self._columns = columns
        self._names = names
        self._xattrs = xattrs
        self.chunks = chunks
        self.landmark = landmark  # offset in the blob up to which the writer wants a prefetch

    def __len__(self) -> int:
        """One more than the highest inode."""
        return len(self._columns.mode)

    @property
    def has_xattrs(self) -> bool:
        return bool(self._xattrs)

    def attributes(self, ino: int) -> Attributes:
        c = self._columns
        return Attributes(
            c.size[ino], c.mtime[ino], c.mode[ino], c.nlink[ino], c.uid[ino], c.gid[ino],
            c.rdev[ino],
        )  # fmt: skip

    def mode(self, ino: int) -> int:
        return self._columns.mode[ino]

    def size(self, ino: int) -> int:
        return self._columns.size[ino]

    def parent(self, ino: int) -> int:
        return self._columns.parent[ino]

    def xattrs(self, ino: int) -> Mapping[bytes, bytes]:
        return self._xattrs.get(ino, _NO_XATTRS)

    def lookup(self, parent: int, name: bytes) -> int:
        """The inode of a name in a directory, 0 when there is none."""
        first, count = self._entries(parent)
        names = self._names
        found = bisect_left(range(first, first + count), name, key=names.__getitem__) + first
        if found < first + count and names[found] == name:
            return names.inode[found]
        return 0

    def position(self, ino: int, name: bytes) -> int:
        """Where `children` of a directory would have to start to begin with this name or later."""
        first, count = self._entries(ino)
        key = self._names.__getitem__
        return bisect_left(range(first, first + count), name, key=key)

    def children(self, ino: int, start: int = 0) -> Iterator[tuple[int, bytes, int]]:
        """(position after it, name, inode) of a directory from `start`, in order of names."""
        first, count = self._entries(ino)
        names = self._names
        for at in range(first + start, first + count):
            yield at - first + 1, names[at], names.inode[at]

    def link(self, ino: int) -> bytes:
        """The target of a symlink."""
        if not stat.S_ISLNK(self._columns.mode[ino]):
            return b""
        return self._names[self._columns.first[ino]]

    def find(self, path: bytes) -> int:
        """The inode of a path without following links, 0 when there is none."""
        ino = ROOT
        for part in path.split(b"/"):
            if part and ino:
                ino = self.lookup(ino, part)
        return ino

    def path(self, ino: int) -> bytes:
        """One path of the inode, relative to the root."""
        c, parts = self._columns, list[bytes]()
        while ino != ROOT:
            parts.append(self._names[c.name[ino]])
            ino = c.parent[ino]
        return b"/".join(reversed(parts))

    def file_chunks(self, ino: int) -> range:
        if not stat.S_ISREG(self._columns.mode[ino]):
            return range(0)
        first = self._columns.first[ino]
        return range(first, first + self._columns.count[ino])

    def pieces(self, ino: int, offset: int, length: int) -> list[Piece]:
        """The pieces of chunks that make up this range of a file, cut at its end."""
        chunks, table = self.file_chunks(ino), self.chunks
        stop = min(offset + length, self._columns.size[ino])
        if not chunks or stop <= offset:
            return []
        at = bisect_right(table.position, offset, chunks.start, chunks.stop) - 1
        pieces = []
        while at < chunks.stop and table.position[at] < stop:
            begin = table.position[at]
            pieces.append(Piece(at, max(0, offset - begin), min(table.size[at], stop - begin)))
            at += 1
        return pieces

    def _entries(self, ino: int) -> tuple[int, int]:
        c = self._columns
        return (c.first[ino], c.count[ino]) if stat.S_ISDIR(c.mode[ino]) else (0, 0)
