"""Files that are there whole or not at all: atomic writes, durable renames, removal of trees.

Owns the translation of a full or broken disk into an error with a name. Knows no format and no
table. Safe from many threads and processes.
"""

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from lazybuild.errors import HostError, LazybuildError, ResourceError

_TIGHT, _FEW = 64 << 10, 64  # bytes, files
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
_FAILING = frozenset({errno.EROFS, errno.EIO, errno.ESTALE})
_REFUSED = frozenset({errno.EACCES, errno.EPERM})


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what a disk says of our own `path` into our errors; what it never says, passes."""
    try:
        yield
    except OSError as error:
        told = trouble(error, path)
        if told is None and error.errno in _REFUSED:
            told = HostError(f"can't use the store at {path}: {error.strerror}")
        if told is None:
            raise
        raise told from error


def trouble(error: OSError, place: Path | str) -> LazybuildError | None:
    """What a system says that is short of something, or whose disk fails; None for all else.

    `place` is named when the error names no file.
    """
    where, number = error.filename or place, error.errno
    if number in _FULL:
        hint = "make room or run `lazybuild prune`; --root moves the store"
        return ResourceError(f"{where}: {error.strerror}", hint=hint)
    if number in _SCARCE:
        hint = "raise the limits on memory, processes and open files (`ulimit -a`)"
        return ResourceError(f"{where}: {error.strerror}", hint=hint)
    if number in _FAILING:
        hint = "see what the kernel says of the disk (dmesg); --root moves the store"
        return HostError(f"{where}: {error.strerror}", hint=hint)
    return None


def is_damage(error: BaseException | None) -> bool:
    """Whether a disk could not read what it was given, for which all on it is in doubt."""
    failed = isinstance(error, OSError) and error.errno == errno.EIO
    return failed or "disk I/O error" in str(error)  # sqlite's words


@contextmanager
def tidying() -> Iterator[None]:
    """Clean up what a sweep would find, too: a disk that fails must not hide what failed before."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FAILING:
            raise


def is_full(path: Path) -> bool:
    """Whether the file system has no room for another file."""
    found = os.statvfs(path)
    no_files = bool(found.f_files) and found.f_favail < _FEW
    return no_files or found.f_bavail * found.f_frsize < _TIGHT


def sync_dir(path: Path) -> None:
    """Make the names in a directory survive a power loss."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file: readers see the old bytes or the new ones."""
    temp = _written_temp(path, data, mode)
    try:
        os.rename(temp, path)  # noqa: PTH104 - the crash tests count these calls
    except BaseException:
        os.unlink(temp)  # noqa: PTH108
        raise
    sync_dir(path.parent)


def write_new(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Create a file with its bytes unless it is there already; the first of many writers wins."""
    if path.exists():
        return
    temp = _written_temp(path, data, mode)
    try:
        os.link(temp, path)
    except FileExistsError:
        return
    finally:
        os.unlink(temp)  # noqa: PTH108
    sync_dir(path.parent)


def _written_temp(path: Path, data: bytes, mode: int) -> str:
    fd, temp = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode)
            file.write(data)
            file.flush()
            os.fsync(fd)
    except BaseException:
        os.unlink(temp)  # noqa: PTH108
        raise
    return temp


def remove_tree(path: Path) -> None:
    """Remove a directory and all in it, whatever the modes and however deep; follows no symlink.

    Every directory found inside is first moved beside `path`, so that neither the stack nor the
    number of open files grows with the depth. What somebody else removes meanwhile is no error;
    files of other users raise PermissionError.
    """
    holder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        pending, numbers = [path.name], count()
        lead = f"{path.name}.{secrets.token_hex(4)}"  # ours, when two remove the same tree
        while pending:
            name = pending.pop()
            with suppress(FileNotFoundError):
                for child in _unlink_files(holder, name):
                    moved = f"{lead}.{next(numbers)}"
                    _move_out(holder, name, child, moved)
                    pending.append(moved)
                os.rmdir(name, dir_fd=holder)
    finally:
        os.close(holder)


def _unlink_files(holder: int, name: str) -> list[str]:
    """Unlink the files of a directory; returns the names of the directories in it."""
    fd = _open_dir(holder, name)
    try:
        with os.scandir(fd) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for entry_name, is_dir in found:
            if not is_dir:
                with suppress(FileNotFoundError):
                    os.unlink(entry_name, dir_fd=fd)
        return [entry_name for entry_name, is_dir in found if is_dir]
    finally:
        os.close(fd)


def _move_out(holder: int, name: str, child: str, moved: str) -> None:
    fd = _open_dir(holder, name)
    try:
        os.close(_open_dir(fd, child))  # makes it writable, which a move to a new parent needs
        os.rename(child, moved, src_dir_fd=fd, dst_dir_fd=holder)
    finally:
        os.close(fd)


def _open_dir(parent: int, name: str) -> int:
    """Open a directory, given back the permissions that we need to empty it."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
    handle = os.open(name, flags, dir_fd=parent)
    try:
        if stat.S_IMODE(os.fstat(handle).st_mode) & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(f"/proc/self/fd/{handle}", stat.S_IRWXU)  # noqa: PTH101 - a descriptor
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=handle)
    finally:
        os.close(handle)


def tree_size(path: Path) -> int:
    """Bytes on disk of a directory; what can't be read, or vanishes meanwhile, counts nothing."""
    total, pending = 0, [path]
    while pending:
        with suppress(FileNotFoundError, PermissionError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
    return total
