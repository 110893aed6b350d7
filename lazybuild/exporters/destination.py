"""Where a single-file output goes: a file that appears when it is whole, a device, or a stream.

An edge. Knows nothing of what is written.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lazybuild.errors import ResourceError, UsageError

STDOUT = "-"


@contextmanager
def destination(dest: str) -> Iterator[BinaryIO]:
    """Open `dest` for writing; "-" is standard output, which must not be a terminal."""
    if dest == STDOUT:
        with _standard_output() as stream:
            yield stream
        return
    path = Path(dest)
    try:
        special = path.exists() and not path.is_file()
        with _device(path) if special else _replaced(path) as stream:
            yield stream
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise ResourceError(f"writing {dest}: {error.strerror}") from error
        raise UsageError(f"can't write {dest}: {error.strerror}") from error


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    if sys.stdout.isatty():
        hint = "redirect standard output or give dest=FILE"
        raise UsageError("an archive is not written to a terminal", hint=hint)
    stream = sys.stdout.buffer
    yield stream
    stream.flush()


@contextmanager
def _device(path: Path) -> Iterator[BinaryIO]:
    if path.is_dir():
        raise UsageError(f"can't write {path}: it is a directory", hint="name a file")
    with path.open("wb") as stream:
        yield stream


@contextmanager
def _replaced(path: Path) -> Iterator[BinaryIO]:
    """The old file, if there is one, stays until the new one is complete."""
    target = path.resolve()
    fd, temp = tempfile.mkstemp(prefix=f".{target.name[:100]}-", dir=target.parent)
    try:
        with os.fdopen(fd, "wb") as stream:
            yield stream
            os.fchmod(fd, 0o666 & ~_umask())
        Path(temp).rename(target)
    except BaseException:
        Path(temp).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's mask, read where reading it does not change it (proc_pid_status(5))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "Umask":
            return int(value, 8)
    return 0o022
