"""The files of an image under a directory of the host, owned by the user who builds.

The tree is hostile and the directory may hold anything: parents are opened by openat2 without
following one symbolic link, what is in the way of a file is unlinked, never written through.
Device nodes are left out, setuid and setgid bits are dropped, since the owner is not kept.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lazybuild.errors import BuildError, ResourceError, UsageError
from lazybuild.estargz.entry import Entry, Kind
from lazybuild.estargz.names import shown
from lazybuild.exporters import rootfs
from lazybuild.linux import syscalls
from lazybuild.snapshots import paths
from lazybuild.snapshots.tree import Tree

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BENEATH = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_KEPT_MODE = 0o1777
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PIECE = 1 << 20


def export(tree: Tree, dest: Path, *, epoch: int | None = None) -> tuple[str, ...]:
    """Write the tree into `dest`, made if needed; returns the names of what was left out."""
    try:
        dest.mkdir(parents=True, exist_ok=True)
        root = os.open(dest, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"can't write into {dest}: {error.strerror}") from error
    try:
        return _Writer(tree, root).write(epoch)
    finally:
        os.close(root)


class _Writer:
    """One export. Directories get their modes and times last: they must be writable till then."""

    def __init__(self, tree: Tree, root: int) -> None:
        self._tree = tree
        self._root = root
        self._directories: list[Entry] = []
        self._skipped: list[str] = []

    def write(self, epoch: int | None) -> tuple[str, ...]:
        for entry in rootfs.entries(self._tree, epoch=epoch):
            with _explained(entry), self._opened(paths.parent(entry.name)) as parent:
                self._place(entry, parent, paths.base(entry.name))
        for entry in reversed(self._directories):
            with _explained(entry), self._opened(entry.name) as directory:
                os.fchmod(directory, entry.mode & _KEPT_MODE)
                os.utime(directory, ns=(entry.mtime, entry.mtime))
        return tuple(self._skipped)

    def _place(self, entry: Entry, parent: int, name: str) -> None:
        match entry.kind:
            case Kind.DIR:
                _make_directory(parent, name)
                self._directories.append(entry)
            case Kind.CHAR | Kind.BLOCK:
                self._skipped.append(entry.name)
            case Kind.HARDLINK:
                _make_way(parent, name)
                self._link(entry, parent, name)
            case _:
                _make_way(parent, name)
                self._make(entry, parent, name)

    def _make(self, entry: Entry, parent: int, name: str) -> None:
        if entry.kind is Kind.REG:
            self._write_file(entry, parent, name)
            return
        if entry.kind is Kind.SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent)
        else:
            os.mkfifo(name, entry.mode & 0o777, dir_fd=parent)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def _write_file(self, entry: Entry, parent: int, name: str) -> None:
        fd = os.open(name, _CREATE, 0o600, dir_fd=parent)
        with os.fdopen(fd, "wb") as file:
            if entry.size:
                with self._tree.open(entry.name) as stream:
                    while piece := stream.read(_PIECE):
                        file.write(piece)
            file.flush()
            os.fchmod(fd, entry.mode & _KEPT_MODE)
            os.utime(fd, ns=(entry.mtime, entry.mtime))

    def _link(self, entry: Entry, parent: int, name: str) -> None:
        with self._opened(paths.parent(entry.link)) as first:
            source = paths.base(entry.link)
            os.link(source, name, src_dir_fd=first, dst_dir_fd=parent, follow_symlinks=False)

    @contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        fd = syscalls.openat2(self._root, path or ".", _DIRECTORY, resolve=_BENEATH)
        try:
            yield fd
        finally:
            os.close(fd)


def _make_directory(parent: int, name: str) -> None:
    """A directory that is ours to write into; a link or file in its place goes."""
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        there = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISDIR(there.st_mode):
            os.unlink(name, dir_fd=parent)
            os.mkdir(name, 0o700, dir_fd=parent)
            return
        _make_writable(parent, name)


def _make_writable(parent: int, name: str) -> None:
    fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        if mode & stat.S_IRWXU != stat.S_IRWXU:
            Path(f"/proc/self/fd/{fd}").chmod(mode | stat.S_IRWXU)
    finally:
        os.close(fd)


def _make_way(parent: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return


@contextmanager
def _explained(entry: Entry) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind: Callable[[str], Exception] = ResourceError if error.errno in _FULL else BuildError
        raise kind(f"can't write /{shown(entry.name)}: {error.strerror}") from error
