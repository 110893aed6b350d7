"""Taking a directory tree away, whatever is in it. An edge; never follows a link.

Depth is bounded: what lies deeper is moved up first, so neither stack nor descriptors run out.
What somebody else removes meanwhile is no error. Files of other ids need the user namespace that
made them, and raise PermissionError without it.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

_DEPTH = 64


def remove_tree(path: Path) -> None:
    """Remove `path` and all below it; nothing happens if it is gone already."""
    with suppress(FileNotFoundError):
        fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_at(fd, os.fsencode(path.name))
        finally:
            os.close(fd)


def remove_at(directory: int, name: bytes) -> None:
    """Remove `name` of an open directory, a tree or a single file."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
        with suppress(FileNotFoundError):
            _remove_directory(directory, name)


def _remove_directory(directory: int, name: bytes) -> None:
    fd = _open(directory, name)
    lead = secrets.token_hex(4)  # ours, when two remove the same tree
    names = (b".removed-%s-%d" % (lead.encode(), number) for number in count())
    try:
        while _clear(fd, fd, 0, names) or not _removed(directory, name):
            continue
    finally:
        os.close(fd)


def _removed(directory: int, name: bytes) -> bool:
    """Whether the directory went; not when somebody else moved something up into it."""
    try:
        os.rmdir(name, dir_fd=directory)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        return False
    return True


def _clear(fd: int, top: int, depth: int, names: Iterator[bytes]) -> bool:
    """Empty a directory; True if parts of it were moved to `top` and are still there."""
    moved = False
    with os.scandir(fd) as entries:
        found = [
            (os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries
        ]
    for name, is_directory in found:
        with suppress(FileNotFoundError):
            if not is_directory:
                os.unlink(name, dir_fd=fd)
            elif depth >= _DEPTH:
                os.close(_open(fd, name))  # makes it writable, which a move needs
                os.rename(name, next(names), src_dir_fd=fd, dst_dir_fd=top)
                moved = True
            else:
                moved |= _clear_below(fd, name, top, depth, names)
    return moved


def _clear_below(fd: int, name: bytes, top: int, depth: int, names: Iterator[bytes]) -> bool:
    below = _open(fd, name)
    try:
        moved = _clear(below, top, depth + 1, names)
    finally:
        os.close(below)
    os.rmdir(name, dir_fd=fd)
    return moved


def _open(directory: int, name: bytes) -> int:
    """Open a directory, given back the permissions that are needed to empty it."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(name, flags, dir_fd=directory)
    try:
        if stat.S_IMODE(os.fstat(handle).st_mode) & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(f"/proc/self/fd/{handle}", stat.S_IRWXU)  # noqa: PTH101 - a descriptor
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=handle)
    finally:
        os.close(handle)
