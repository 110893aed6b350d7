"""Taking a directory tree away, whatever a step left in it. An edge; never follows a link.

Depth is bounded: what lies deeper is moved up first, so neither stack nor descriptors run out.
Files of other ids need the user namespace that made them.
"""

import errno
import os
from itertools import count
from pathlib import Path

_DEPTH = 64
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: Path) -> None:
    """Remove `path` and all below it; nothing happens if it is gone already."""
    try:
        fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_at(fd, os.fsencode(path.name))
    finally:
        os.close(fd)


def remove_at(directory: int, name: bytes) -> None:
    """Remove `name` of an open directory, a tree or a single file."""
    try:
        os.unlink(name, dir_fd=directory)
        return
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
    fd = _open(directory, name)
    try:
        numbers = count()
        while _clear(fd, fd, 0, numbers):
            continue
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=directory)


def _clear(fd: int, top: int, depth: int, numbers: "count[int]") -> bool:
    """Empty a directory; True if parts of it were moved to `top` and are still there."""
    moved = False
    with os.scandir(fd) as entries:
        found = [
            (os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries
        ]
    for name, is_directory in found:
        if not is_directory:
            os.unlink(name, dir_fd=fd)
        elif depth >= _DEPTH:
            os.rename(name, _free(top, numbers), src_dir_fd=fd, dst_dir_fd=top)
            moved = True
        else:
            moved |= _clear_below(fd, name, top, depth, numbers)
    return moved


def _clear_below(fd: int, name: bytes, top: int, depth: int, numbers: "count[int]") -> bool:
    below = _open(fd, name)
    try:
        moved = _clear(below, top, depth + 1, numbers)
    finally:
        os.close(below)
    os.rmdir(name, dir_fd=fd)
    return moved


def _free(top: int, numbers: "count[int]") -> bytes:
    while True:
        name = b".removed-%d" % next(numbers)
        try:
            os.stat(name, dir_fd=top, follow_symlinks=False)
        except FileNotFoundError:
            return name


def _open(directory: int, name: bytes) -> int:
    try:
        return os.open(name, _OPEN, dir_fd=directory)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=directory)
        return os.open(name, _OPEN, dir_fd=directory)
