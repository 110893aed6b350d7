"""An eStargz layer as a tree, read through its verified TOC. An engine over a chunk reader.

Looking, listing and digests of content cost no byte of the blob; opening reads the file's chunks,
one at a time, as they are asked for.
"""

import io
from bisect import bisect_right
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import BinaryIO, cast

from lazybuild.errors import IntegrityError
from lazybuild.estargz.entry import Entry, Kind
from lazybuild.estargz.names import OWN_NAMES
from lazybuild.estargz.toc import Chunk, Toc, TocEntry, to_entry
from lazybuild.snapshots import paths
from lazybuild.snapshots.draft import OPAQUE, WHITEOUT
from lazybuild.snapshots.filehash import sha256_of
from lazybuild.snapshots.tree import ROOT, Node, not_a_file

ReadChunk = Callable[[Chunk], bytes]


class TocTree:
    """A `LayerTree` over a TOC. `read` gives the verified bytes of a chunk."""

    def __init__(self, toc: Toc, read: ReadChunk) -> None:
        self._toc = toc
        self._read = read
        self._nodes: dict[str, Node] = {}
        self._names: dict[str, set[str]] | None = None  # made when something is listed
        self._whiteouts: dict[str, set[str]] = {}
        self._opaque: set[str] = set()
        self._hidden = set(OWN_NAMES)
        for path in toc.paths:
            if WHITEOUT in path:
                self._mark(path)
        self._directories = _directories(self._paths())
        self._linked = {
            path: to_entry(record, path).link
            for path, record in zip(toc.paths, toc.entries, strict=True)
            if record.type == Kind.HARDLINK and path not in self._hidden
        }
        self._targets = frozenset(self._target(path) for path in self._linked)

    def lookup(self, path: str) -> Node | None:
        node = self._nodes.get(path)
        if node is not None:
            return node
        record = self._record(path)
        if record is None:
            return ROOT if path in self._directories or not path else None
        node = self._nodes[path] = self._node(path, record)
        return node

    def children(self, path: str) -> Sequence[str]:
        if self._names is None:
            self._names = self._listing()
        return sorted(self._names.get(path, ()), key=paths.sort_key)

    def whiteouts(self, path: str) -> Collection[str]:
        return self._whiteouts.get(path, ())

    def opaque(self, path: str) -> bool:
        return path in self._opaque

    def leftovers(self, path: str) -> Sequence[str]:
        del path
        return ()

    def chunks(self, path: str) -> Sequence[Chunk]:
        """The pieces of a regular file, in order. Raises BuildError if it is none."""
        return self._toc.chunks(self._file(path))

    def open(self, path: str) -> BinaryIO:
        stream = io.BufferedReader(_Chunks(self.chunks(path), self._read))
        return cast("BinaryIO", stream)

    def digest(self, path: str) -> str:
        record = self._file(path)
        if record.digest:
            return record.digest
        with self.open(path) as stream:
            return sha256_of(stream)

    def _mark(self, path: str) -> None:
        """Note what a name with `.wh.` in it says, if it is one of the layer's own marks."""
        directory, name = paths.parent(path), paths.base(path)
        if f"/{WHITEOUT}" in f"/{directory}":
            self._hidden.add(path)
        elif name.startswith(WHITEOUT):
            self._hidden.add(path)
            if name == OPAQUE:
                self._opaque.add(directory)
            else:
                self._whiteouts.setdefault(directory, set()).add(name[len(WHITEOUT) :])

    def _record(self, path: str) -> TocEntry | None:
        return None if path in self._hidden else self._toc.lookup(path)

    def _paths(self) -> list[str]:
        return [path for path in self._toc.paths if path not in self._hidden]

    def _listing(self) -> dict[str, set[str]]:
        names: dict[str, set[str]] = {}
        for path in {*self._paths(), *self._directories} - {""}:
            directory, _, name = path.rpartition("/")
            names.setdefault(directory, set()).add(name)
        return names

    def _target(self, path: str) -> str:
        for _ in range(len(self._linked) + 1):
            if path not in self._linked:
                return path
            path = self._linked[path]
        raise IntegrityError(f"hard links in a circle: {path!r}")

    def _node(self, path: str, record: TocEntry) -> Node:
        linked = record.type == Kind.HARDLINK or path in self._targets
        target = self._target(path)
        found = self._record(target)
        if found is None:
            raise IntegrityError(f"hard link to nothing: {path!r}")
        entry = to_entry(found, target)
        return _node_of(entry, identity=(id(self), target) if linked else None)

    def _file(self, path: str) -> TocEntry:
        record = self._record(self._target(path))
        if record is None or record.type != Kind.REG:
            raise not_a_file(path)
        return record


def _directories(names: Iterable[str]) -> set[str]:
    """The directories that hold these names, whether or not they are entries themselves."""
    found = {name.rpartition("/")[0] for name in names}
    for directory in list(found):
        above = directory.rpartition("/")[0]
        while above not in found:
            found.add(above)
            above = above.rpartition("/")[0]
    return found


def _node_of(entry: Entry, *, identity: Hashable) -> Node:
    return Node(
        kind=entry.kind,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        mtime=entry.mtime,
        link=entry.link,
        major=entry.major,
        minor=entry.minor,
        xattrs=entry.xattrs,
        identity=identity,
    )


class _Chunks(io.RawIOBase):
    """A file as a stream over its chunks; holds one chunk at a time."""

    def __init__(self, chunks: Sequence[Chunk], read: ReadChunk) -> None:
        self._chunks = chunks
        self._read = read
        self._starts = [chunk.file_offset for chunk in chunks]
        self._position = 0
        self._held: tuple[int, bytes] = (-1, b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        end = sum(chunk.size for chunk in self._chunks)
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: end}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))
        piece = self._piece()[: len(view)]
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _piece(self) -> memoryview:
        """What the current chunk still holds; empty at the end."""
        index = bisect_right(self._starts, self._position) - 1
        if index < 0:
            return memoryview(b"")
        chunk = self._chunks[index]
        if self._held[0] != index:
            self._held = (index, self._read(chunk))
        return memoryview(self._held[1])[self._position - chunk.file_offset :]
