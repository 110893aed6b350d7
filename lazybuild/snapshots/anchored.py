"""Access to a directory of the host from which no name and no link leads out.

An edge. Every step below the root is opened relative to the descriptor of the directory above it,
without following links, so a link swapped in while we look leads to an error and never outside.
"""

import errno
import os
import stat
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lazybuild.errors import BuildError
from lazybuild.snapshots import paths
from lazybuild.snapshots.tree import not_a_file

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LISTING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class AnchoredDir:
    """A root directory and what lies below it, by names as in `paths`.

    `hold` keeps the directory of the last file that was opened at hand, since files are opened
    directory by directory: not for what has to be unmounted some time.
    """

    def __init__(self, root: Path, *, hold: bool = False) -> None:
        self.root = root
        self._held: _Held | None = None
        self._hold = hold
        self._lock = threading.Lock()

    @contextmanager
    def directory(self, path: str) -> Iterator[int]:
        """A descriptor (O_PATH) of the directory `path`. Raises OSError if it is none."""
        fd = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in path.split("/") if path else ():
                below = os.open(os.fsencode(name), _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    def stat(self, path: str) -> os.stat_result | None:
        """What `path` is, a link not followed; None if there is no such name."""
        try:
            with self.directory(paths.parent(path)) as fd:
                name = os.fsencode(paths.base(path)) or b"."
                return os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise

    @contextmanager
    def listing(self, path: str) -> Iterator[int]:
        """A descriptor of the directory `path` that can be listed."""
        with self.directory(path) as fd:
            readable = os.open(".", _LISTING, dir_fd=fd)
        try:
            yield readable
        finally:
            os.close(readable)

    def open(self, path: str) -> BinaryIO:
        """The bytes of a regular file. Opens nothing that could block, and no device."""
        try:
            return os.fdopen(self._open_regular(path), "rb")
        except OSError as error:
            if error.errno in (*_GONE, errno.ENXIO, errno.ENODEV):
                raise not_a_file(path) from error
            if error.errno in (errno.EACCES, errno.EPERM):
                raise BuildError(f"/{path}: {error.strerror}") from error
            raise

    def _open_regular(self, path: str) -> int:
        above, _, last = path.rpartition("/")
        with self._at_hand(above) if self._hold else self.directory(above) as directory:
            name = os.fsencode(last)
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                raise not_a_file(path)
            fd = os.open(name, _READ, dir_fd=directory)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise not_a_file(path)
        return fd

    @contextmanager
    def _at_hand(self, path: str) -> Iterator[int]:
        with self._lock:
            if self._held is None or self._held.path != path:
                with self.directory(path) as fd:
                    self._held = _Held(path, fd)
            yield self._held.fd


class _Held:
    """A descriptor of a directory, closed when nobody has this any more."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = os.dup(fd)
        weakref.finalize(self, os.close, self.fd)


def inside(fd: int, name: str) -> str:
    """A path to a name in an open directory, for calls that know no descriptor."""
    return f"/proc/self/fd/{fd}/{name}"
