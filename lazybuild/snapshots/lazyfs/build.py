"""From the entries of a TOC to a `Tree`. Owns the rules for what a TOC may say and what it means.

Entries come in the order of the TOC and may come in batches, so that a large TOC never stands in
memory as objects. Everything in them is hostile: a name that leaves the root, a chunk that fits no
file, a hard link to nowhere is an IntegrityError that names the entry. Of two entries with one
name the last wins, as it would when a tar file is unpacked. Pure; one thread.
Spec: stargz-snapshotter docs/estargz.md, "TOC", and the OCI image spec, layer.md, "Whiteouts".
"""

import os
import stat
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta

from lazybuild.errors import IntegrityError
from lazybuild.estargz import names
from lazybuild.snapshots.lazyfs.chunktable import ChunkTable
from lazybuild.snapshots.lazyfs.record import Record
from lazybuild.snapshots.lazyfs.tree import OPAQUE, ROOT, Columns, Names, Tree

_KINDS = {
    "dir": stat.S_IFDIR,
    "reg": stat.S_IFREG,
    "symlink": stat.S_IFLNK,
    "char": stat.S_IFCHR,
    "block": stat.S_IFBLK,
    "fifo": stat.S_IFIFO,
}
_DEVICES = ("char", "block")
_WHITEOUT = ".wh."
_OPAQUE_MARK = ".wh..wh..opq"
_SIZE_MAX = 2**62
_GROWTH = 4096
_MAJOR_MAX, _MINOR_MAX = 2**12 - 1, 2**20 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIME_MAX = 2**63 - 1


class TreeBuilder:
    """Takes entries with `add`, as often as needed, and gives the tree with `finish`. `data_end` is
    where the last member of the blob ends.
    """

    def __init__(self, *, data_end: int, unverified: bytes = b"") -> None:
        self._columns = _columns()
        self._all_columns = [getattr(self._columns, f.name) for f in fields(Columns)]
        self._inodes = 0
        self._chunks = ChunkTable(data_end=data_end, unverified=unverified)
        self._directories: dict[str, int] = {"": ROOT}
        self._children: dict[int, dict[bytes, int]] = {ROOT: {}}
        self._whiteouts: list[tuple[str, bytes]] = []
        self._links: list[tuple[str, bytes, str]] = []
        self._targets: dict[int, bytes] = {}
        self._xattrs: dict[int, dict[bytes, bytes]] = {}
        self._times: dict[str, int] = {"": 0}
        self._open_name: str | None = None
        self._open_hidden = False
        self._landmark = 0
        self._inode(stat.S_IFDIR | 0o755)
        self._inode(stat.S_IFDIR | 0o755)

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            if record.type == "chunk":
                self._chunk(record)
            else:
                self._close_file()
                self._entry(record)

    def finish(self) -> Tree:
        self._close_file()
        self._link_late()
        for parent, base in self._whiteouts:
            self._whiteout(parent, base)
        for column in self._all_columns:
            del column[self._inodes :]
        laid_out = self._lay_out()
        return Tree(
            columns=self._columns,
            names=laid_out,
            chunks=self._chunks.finish(),
            xattrs=self._xattrs,
            landmark=self._landmark,
        )

    # entries

    def _entry(self, record: Record) -> None:
        path = names.clean(record.name)
        parent, _, name = path.rpartition("/")
        if not parent and name in names.OWN_NAMES:
            self._hide(name, record)
        elif record.type == "dir":
            self._describe(self._directory(path), record)
        elif not name:
            raise _bad(record.name, "the root is not a directory")
        elif name.startswith(_WHITEOUT):
            self._mark(parent, name)
            self._hide(name, record)
        else:
            self._node(path, parent, name, record)

    def _node(self, path: str, parent: str, name: str, record: Record) -> None:
        base = _encode(name)
        children = self._children[self._directory(parent)]
        if path in self._directories:
            self._remove_directory(path)
        if record.type == "hardlink":
            self._hard_link(parent, children, base, record)
        else:
            children[base] = self._create(record)

    def _create(self, record: Record) -> int:
        kind = _KINDS.get(record.type)
        if kind is None:
            raise _bad(record.name, f"unknown type {record.type[:20]!r}")
        ino = self._inode(kind)
        self._describe(ino, record)
        if record.type == "reg":
            self._open_file(ino, record)
        elif record.type == "symlink":
            self._symlink(ino, record)
        elif record.type in _DEVICES:
            self._device(ino, record)
        return ino

    def _hide(self, name: str, record: Record) -> None:
        """An entry that means something else than a file: its pieces are not wanted."""
        if name == names.PREFETCH_LANDMARK:
            self._landmark = record.offset
        self._open_name, self._open_hidden = record.name, True

    def _mark(self, parent: str, name: str) -> None:
        ino = self._directory(parent)
        hidden = _encode(name[len(_WHITEOUT) :])
        if name == _OPAQUE_MARK:
            self._xattrs.setdefault(ino, {})[OPAQUE] = b"y"
        elif hidden not in (b"", b".", b"..") and not name.startswith(_WHITEOUT * 2):
            self._whiteouts.append((parent, hidden))

    def _hard_link(
        self, parent: str, children: dict[bytes, int], base: bytes, record: Record
    ) -> None:
        target = names.clean(record.link_name)
        ino = self._find(target)
        if ino:
            children[base] = ino
        else:
            children.pop(base, None)
            self._links.append((parent, base, target))

    def _link_late(self) -> None:
        """Links that came before their targets, which may be such links themselves."""
        waiting = {_join(parent, base): target for parent, base, target in self._links}
        for parent, base, _ in self._links:
            chain = [_join(parent, base)]
            while (target := waiting.pop(chain[-1], None)) is not None:
                chain.append(target)
            ino = self._find(chain[-1])
            if not ino:
                raise _bad(chain[0], f"links to {chain[-1][:200]!r}, which is no file of the layer")
            for path in chain[:-1]:
                self._name_late(path, ino)

    def _name_late(self, path: str, ino: int) -> None:
        parent, _, name = path.rpartition("/")
        directory = self._directories.get(parent)
        if directory is not None:
            self._children[directory].setdefault(_encode(name), ino)

    def _find(self, path: str) -> int:
        """The inode of a file that is no directory, 0 when there is none."""
        parent, _, name = path.rpartition("/")
        directory = self._directories.get(parent)
        if directory is None or path in self._directories:
            return 0
        return self._children[directory].get(_encode(name), 0)

    def _symlink(self, ino: int, record: Record) -> None:
        target = _encode(names.check_target(record.name, record.link_name))
        self._targets[ino] = target
        self._columns.size[ino] = len(target)
        self._columns.mode[ino] = stat.S_IFLNK | 0o777  # as every file system shows them

    def _device(self, ino: int, record: Record) -> None:
        major, minor = record.dev_major, record.dev_minor
        if not (0 <= major <= _MAJOR_MAX and 0 <= minor <= _MINOR_MAX):
            raise _bad(record.name, f"impossible device {major}:{minor}")
        self._columns.rdev[ino] = os.makedev(major, minor)

    # files and their pieces

    def _open_file(self, ino: int, record: Record) -> None:
        if not 0 <= record.size <= _SIZE_MAX:
            raise _bad(record.name, f"impossible size {record.size}")
        self._columns.size[ino] = record.size
        self._columns.first[ino] = len(self._chunks)
        self._open_name, self._open_hidden = record.name, False
        self._chunks.begin(record.name, record.size)
        if record.size:
            self._piece(record)
        self._columns.count[ino] = 1 if record.size else 0
        self._open_ino = ino

    def _chunk(self, record: Record) -> None:
        if record.name != self._open_name:
            raise _bad(record.name, "a chunk that follows no entry of its file")
        if not self._open_hidden:
            self._piece(record)
            self._columns.count[self._open_ino] += 1

    def _piece(self, record: Record) -> None:
        self._chunks.add(
            offset=record.offset,
            inner=record.inner_offset,
            position=record.chunk_offset,
            size=record.chunk_size,
            digest=record.chunk_digest or self._whole_digest(record),
        )

    def _whole_digest(self, record: Record) -> str:
        """Writers before chunk digests gave one of the whole file, good for a file of one piece."""
        whole = record.chunk_size in (0, record.size) and not record.chunk_offset
        return record.digest if whole else ""

    def _close_file(self) -> None:
        if self._open_name is not None and not self._open_hidden:
            self._chunks.close()
        self._open_name = None

    # inodes and directories

    def _inode(self, mode: int) -> int:
        ino = self._inodes
        if ino == len(self._columns.mode):
            for column in self._all_columns:
                column.frombytes(bytes(_GROWTH * column.itemsize))
        self._columns.mode[ino] = mode
        self._inodes = ino + 1
        return ino

    def _describe(self, ino: int, record: Record) -> None:
        c = self._columns
        c.mode[ino] = c.mode[ino] & ~0o7777 | record.mode & 0o7777
        c.uid[ino] = names.check_id(record.name, record.uid)
        c.gid[ino] = names.check_id(record.name, record.gid)
        c.mtime[ino] = self._time(record)
        if record.xattrs:
            self._set_xattrs(ino, record.name, record.xattrs)

    def _time(self, record: Record) -> int:
        known = self._times.get(record.modtime)
        if known is None:
            known = self._times[record.modtime] = _nanoseconds(record)
        return known

    def _set_xattrs(self, ino: int, path: str, xattrs: Mapping[str, bytes]) -> None:
        shown = {_encode(name): value for name, value in names.sane_xattrs(path, xattrs).items()}
        if shown:
            self._xattrs.setdefault(ino, {}).update(shown)

    def _directory(self, path: str) -> int:
        """The inode of a directory, made with its parents when it is not there yet."""
        ino = self._directories.get(path)
        return ino if ino is not None else self._make_directories(path)

    def _make_directories(self, path: str) -> int:
        ino, reached = ROOT, ""
        for part in path.split("/"):
            reached = f"{reached}/{part}" if reached else part
            known = self._directories.get(reached)
            ino = known if known is not None else self._make_directory(reached, ino, part)
        return ino

    def _make_directory(self, path: str, parent: int, name: str) -> int:
        base = _encode(name)
        ino = self._inode(stat.S_IFDIR | 0o755)
        self._children[parent][base] = self._directories[path] = ino
        self._children[ino] = {}
        return ino

    def _remove_directory(self, path: str) -> None:
        """A later entry takes the place of a directory and all that is in it."""
        gone = [path]
        while gone:
            here = gone.pop()
            ino = self._directories.pop(here, None)
            if ino is not None:
                gone += [_join(here, name) for name in self._children.pop(ino)]

    # the end

    def _whiteout(self, parent: str, base: bytes) -> None:
        """Hides what lies below; a directory of that name in this layer starts afresh instead."""
        directory = self._directories.get(parent)
        if directory is None:
            return
        ino = self._children[directory].get(base)
        if ino is None:
            self._children[directory][base] = self._inode(stat.S_IFCHR)
        elif ino in self._children:
            self._xattrs.setdefault(ino, {})[OPAQUE] = b"y"

    def _lay_out(self) -> Names:
        """Names into one text, directory by directory, each directory's dictionary freed."""
        c, laid = self._columns, _Laid()
        for directory, children in self._children.items():
            c.first[directory], c.count[directory] = len(laid.inode), len(children)
            c.nlink[directory] += 1
            self._place(directory, children, laid)
            children.clear()
        for ino, target in self._targets.items():
            c.first[ino] = len(laid.inode)
            laid.add(target, ino)
        return Names(text=bytes(laid.text), ends=laid.ends, inode=laid.inode)

    def _place(self, directory: int, children: dict[bytes, int], laid: "_Laid") -> None:
        c = self._columns
        for base in sorted(children):
            ino = children[base]
            if not c.parent[ino]:
                c.parent[ino], c.name[ino] = directory, len(laid.inode)
            c.nlink[ino] += 1
            if ino in self._children:
                c.nlink[directory] += 1
            laid.add(base, ino)


class _Laid:
    """`Names` in the making."""

    def __init__(self) -> None:
        self.text = bytearray()
        self.ends = array("Q", (0,))
        self.inode = array("I")

    def add(self, name: bytes, ino: int) -> None:
        self.text += name
        self.ends.append(len(self.text))
        self.inode.append(ino)


def _columns() -> Columns:
    return Columns(
        mode=array("I"), uid=array("I"), gid=array("I"), nlink=array("I"), rdev=array("I"),
        first=array("I"), count=array("I"), parent=array("I"), name=array("I"),
        size=array("Q"), mtime=array("q"),
    )  # fmt: skip


def _join(parent: str, base: bytes) -> str:
    return f"{parent}/{os.fsdecode(base)}" if parent else os.fsdecode(base)


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise _bad(text, "is no possible file name") from error


def _nanoseconds(record: Record) -> int:
    try:
        moment = datetime.fromisoformat(record.modtime)
        micros = (moment - _EPOCH) // _MICROSECOND
    except (ValueError, TypeError, OverflowError) as error:
        raise _bad(record.name, f"impossible time {record.modtime[:40]!r}") from error
    return max(-_TIME_MAX, min(_TIME_MAX, micros * 1000))


def _bad(name: str, reason: str) -> IntegrityError:
    return IntegrityError(f"TOC entry {names.shown(name)}: {reason}")
