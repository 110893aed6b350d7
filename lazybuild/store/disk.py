"""Files that are there whole or not at all: atomic writes, durable renames.

Owns the translation of a full or broken disk into an error with a name. Knows no format and no
table. Safe from many threads and processes.
"""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lazybuild.errors import HostError, LazybuildError, ResourceError
from lazybuild.linux.shortage import SCARCE

_TIGHT, _FEW = 64 << 10, 64  # bytes, files
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
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
    if number in SCARCE:
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
        os.unlink(temp)  # noqa: PTH108 - as above
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
        os.unlink(temp)  # noqa: PTH108 - as above
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
        os.unlink(temp)  # noqa: PTH108 - as above
        raise
    return temp


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
