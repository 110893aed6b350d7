"""Items of a layer into a directory in overlay format. An edge; every item is hostile.

Parents are opened by openat2 as if the directory were "/", everything else happens relative to
such a descriptor and without following links, so no name and no link reaches outside. Later items
replace earlier ones. Runs in the user namespace that owns the ids. One thread.
"""

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from lazybuild.errors import HostError, IntegrityError, ResourceError
from lazybuild.estargz.entry import Entry, Item, Kind
from lazybuild.estargz.names import OWN_NAMES, shown
from lazybuild.linux import idspace, syscalls
from lazybuild.snapshots import paths, recorded, xattrs
from lazybuild.snapshots.anchored import inside
from lazybuild.snapshots.dirtree import (
    DEVICE,
    MARKED_OPAQUE,
    MARKED_WHITEOUT,
    OPAQUE,
    is_marked,
)
from lazybuild.snapshots.draft import OPAQUE as OPAQUE_MARK
from lazybuild.snapshots.draft import WHITEOUT
from lazybuild.store.remove import remove_at

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 1 << 20
_IMPLIED = 0o755  # of directories that only names below them imply
_ZEROS = bytes(_PIECE)
_BENEATH = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REPLACED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_AUFS = ".wh..wh."
_NO_MARKS_OF_OVERLAY = (errno.EPERM, errno.EOPNOTSUPP)


def unpack(items: Iterable[Item], root: Path) -> None:
    """Lay a layer out below `root`, which must exist and be empty."""
    with Unpacker(root) as unpacker:
        for item in items:
            unpacker.add(item)


class Unpacker:
    """One layer on its way into a directory; leaving the `with` dates the directories."""

    def __init__(self, root: Path) -> None:
        self._name = root
        self._root = os.open(root, _DIRECTORY)
        self._parent = ("", os.dup(self._root))
        self._times: dict[str, int] = {}
        self._one_id = idspace.only_one()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._date_directories()
        finally:
            os.close(self._parent[1])
            os.close(self._root)

    def add(self, item: Item) -> None:
        entry = item.entry
        if entry.name in OWN_NAMES or _is_aufs(entry.name):
            return
        try:
            self._place(item)
        except OSError as error:
            raise _explained(self._name, entry, error) from error

    def _place(self, item: Item) -> None:
        entry = item.entry
        directory = self._directory(paths.parent(entry.name))
        name = paths.base(entry.name)
        if name.startswith(WHITEOUT):
            self._white_out(directory, name, entry.name)
        elif not name:
            self._finish_directory(self._root, entry)
        else:
            self._make(directory, os.fsencode(name), item)

    def _make(self, directory: int, name: bytes, item: Item) -> None:
        entry = item.entry
        there = _kind(directory, name)
        if entry.kind is Kind.DIR:
            self._make_directory(directory, name, there, entry)
            return
        source = self._link_source(entry) if entry.kind is Kind.HARDLINK else None
        if there:
            self._forget_parent()
            remove_at(directory, name)
        if source is not None:
            fd, target = source
            os.link(target, name, src_dir_fd=fd, dst_dir_fd=directory, follow_symlinks=False)
            os.close(fd)
        elif entry.kind is Kind.REG:
            _write_file(directory, name, item, one_id=self._one_id)
        else:
            _make_special(directory, name, entry, one_id=self._one_id)

    def _make_directory(self, directory: int, name: bytes, there: str, entry: Entry) -> None:
        if there and there != "directory":
            self._forget_parent()
            os.unlink(name, dir_fd=directory)
        if there != "directory":
            os.mkdir(name, 0o700, dir_fd=directory)
        fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
        try:
            if there == "whiteout":
                _make_opaque(fd)
            self._finish_directory(fd, entry)
        finally:
            os.close(fd)

    def _finish_directory(self, fd: int, entry: Entry) -> None:
        path = inside(fd, ".")
        _give(path, entry, one_id=self._one_id)
        os.chmod(path, entry.mode)
        _set_xattrs(path, entry)
        self._times[entry.name] = entry.mtime

    def _white_out(self, directory: int, name: str, path: str) -> None:
        del path
        if name == OPAQUE_MARK:
            _make_opaque(directory)
            return
        hidden = os.fsencode(name.removeprefix(WHITEOUT))
        if hidden in (b"", b".", b".."):
            raise IntegrityError(f"whiteout of nothing: {shown(name)}")
        there = _kind(directory, hidden)
        if there == "directory":
            fd = os.open(hidden, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            _make_opaque(fd)
            os.close(fd)
        elif not there:
            _make_whiteout(directory, hidden)

    def _link_source(self, entry: Entry) -> tuple[int, bytes]:
        """The file that a hard link names: an open directory and a name in it."""
        fd = self._opened(paths.parent(entry.link))
        name = os.fsencode(paths.base(entry.link))
        there = _kind(fd, name) if fd >= 0 and name else ""
        if there != "file" or entry.link == entry.name:
            if fd >= 0:
                os.close(fd)
            wrong = f"{shown(entry.name)} to {shown(entry.link)}"
            raise IntegrityError(f"hard link {wrong}, which is no file of this layer")
        return fd, name

    def _directory(self, path: str) -> int:
        """The directory that `path` names, made if it is not there."""
        if self._parent[0] != path:
            fd = self._opened(path)
            if fd < 0:
                fd = self._made(path)
            os.close(self._parent[1])
            self._parent = (path, fd)
        return self._parent[1]

    def _opened(self, path: str) -> int:
        """A descriptor of a directory, links followed inside the root; -1 if there is none."""
        if not path:
            return os.dup(self._root)
        try:
            return syscalls.open_in_root(self._root, path, _DIRECTORY)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return -1
            raise

    def _made(self, path: str) -> int:
        fd = os.dup(self._root)
        for above in (*paths.ancestors(path), path):
            below = self._opened(above)
            if below < 0:
                name = os.fsencode(paths.base(above))
                there = _kind(fd, name)
                if there:
                    remove_at(fd, name)
                os.mkdir(name, _IMPLIED, dir_fd=fd)
                below = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                if there == "whiteout":
                    _make_opaque(below)
                os.chmod(inside(below, "."), _IMPLIED)
            os.close(fd)
            fd = below
        return fd

    def _forget_parent(self) -> None:
        """A name was replaced: what was opened through it may be another directory now."""
        self._parent = ("\0", self._parent[1])

    def _date_directories(self) -> None:
        for path, mtime in self._times.items():
            try:
                fd = syscalls.openat2(self._root, path or ".", _DIRECTORY, resolve=_BENEATH)
            except OSError as error:
                if error.errno not in _REPLACED:
                    raise
                continue
            os.utime(inside(fd, "."), ns=(mtime, mtime))
            os.close(fd)


def _kind(directory: int, name: bytes) -> str:
    """What is there: "whiteout", "directory", "file", or "" for nothing."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return ""
    if stat.S_ISDIR(status.st_mode):
        return "directory"
    if stat.S_ISCHR(status.st_mode) and not status.st_rdev:
        return "whiteout"
    return "whiteout" if is_marked(directory, name, status) else "file"


def _is_aufs(name: str) -> bool:
    """Whether a name is in what AUFS keeps for itself, or below something that can't be there."""
    if paths.base(name) == OPAQUE_MARK:
        name = paths.parent(name)
    return f"/{_AUFS}" in f"/{name}" or f"/{WHITEOUT}" in f"/{paths.parent(name)}/"


def _make_opaque(fd: int) -> None:
    try:
        os.setxattr(inside(fd, "."), OPAQUE, b"y")
    except OSError as error:
        if error.errno not in _NO_MARKS_OF_OVERLAY:
            raise
        os.setxattr(inside(fd, "."), MARKED_OPAQUE, b"y")


def _make_whiteout(directory: int, name: bytes) -> None:
    """As overlay has it; where the file system is itself an overlay, which keeps that form for
    itself, as a mark on an empty file. No overlay is mounted over such a place.
    """
    try:
        os.mknod(name, 0o020000, os.makedev(0, 0), dir_fd=directory)
    except OSError as error:
        if error.errno not in _NO_MARKS_OF_OVERLAY:
            raise
        fd = os.open(name, _CREATE, 0o600, dir_fd=directory)
        try:
            os.setxattr(fd, MARKED_WHITEOUT, b"y")
        finally:
            os.close(fd)


def _write_file(directory: int, name: bytes, item: Item, *, one_id: bool) -> None:
    fd = os.open(name, _CREATE, 0o600, dir_fd=directory)
    try:
        if item.open is not None:
            with item.open() as stream:
                size = 0
                while data := stream.read(_PIECE):
                    size += _write_piece(fd, data)
                os.ftruncate(fd, size)
        _finish_file(fd, item.entry, one_id=one_id)
    finally:
        os.close(fd)


def _write_piece(fd: int, data: bytes) -> int:
    if len(data) == _PIECE and data == _ZEROS:
        os.lseek(fd, _PIECE, os.SEEK_CUR)
        return _PIECE
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    return len(data)


def _finish_file(fd: int, entry: Entry, *, one_id: bool) -> None:
    _give(fd, entry, one_id=one_id)
    os.fchmod(fd, entry.mode)
    _set_xattrs(fd, entry)
    os.utime(fd, ns=(entry.mtime, entry.mtime))


def _make_special(directory: int, name: bytes, entry: Entry, *, one_id: bool) -> None:
    if entry.kind is Kind.SYMLINK:
        os.symlink(os.fsencode(entry.link), name, dir_fd=directory)
    elif entry.kind is Kind.FIFO:
        os.mkfifo(name, 0o600, dir_fd=directory)
    else:
        _make_device(directory, name, entry, one_id=one_id)
        return
    if one_id:
        recorded.note_links(inside(directory, "."), {name: (entry.uid, entry.gid)})
    else:
        _chown(name, entry, directory)
    if entry.kind is Kind.FIFO:
        os.chmod(name, entry.mode, dir_fd=directory)
    os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=directory, follow_symlinks=False)


def _make_device(directory: int, name: bytes, entry: Entry, *, one_id: bool) -> None:
    """Device nodes can't be made without privilege, and 0:0 would be a whiteout: an empty file
    stands for every one, with a note of what it is.
    """
    fd = os.open(name, _CREATE, 0o600, dir_fd=directory)
    try:
        _give(fd, entry, one_id=one_id)
        os.fchmod(fd, entry.mode)
        letter = "c" if entry.kind is Kind.CHAR else "b"
        os.setxattr(fd, DEVICE, f"{letter} {entry.major}:{entry.minor}".encode())
        os.utime(fd, ns=(entry.mtime, entry.mtime))
    finally:
        os.close(fd)


def _give(file: int | str, entry: Entry, *, one_id: bool) -> None:
    if one_id:
        recorded.note(file, (entry.uid, entry.gid))
    else:
        _chown(file, entry)


def _chown(file: int | str | bytes, entry: Entry, directory: int | None = None) -> None:
    """Give the file its owner; `file` is a descriptor, a path of ours or a name in `directory`."""
    try:
        if directory is None:
            os.chown(file, entry.uid, entry.gid)
        else:
            os.chown(file, entry.uid, entry.gid, dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        ids = f"{entry.uid}:{entry.gid}"
        raise HostError(
            f"/{shown(entry.name)} belongs to {ids}, which is not mapped in this user namespace",
            hint="give the user a range of at least 65536 ids in /etc/subuid and /etc/subgid",
        ) from error


def _set_xattrs(file: int | str, entry: Entry) -> None:
    for key, value in xattrs.portable(entry.xattrs).items():
        try:
            os.setxattr(file, key, value)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.E2BIG, errno.ERANGE):
                raise
            name = shown(entry.name)
            raise IntegrityError(f"/{name}: the kernel refuses its attribute {key}") from error


def _explained(root: Path, entry: Entry, error: OSError) -> Exception:
    name = shown(entry.name)
    if error.errno in _FULL:
        hint = "make room or run `lazybuild prune`; --root moves the store"
        return ResourceError(f"no space for /{name} in {root}: {error.strerror}", hint=hint)
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        return IntegrityError(f"/{name}: {error.strerror}")
    return error
