"""Temporary files and directories inside the store, on the file system they will be renamed in.

Each is locked by the process that made it. What nobody holds any more was left by a crash and is
swept. Knows nothing of what is written into them.
"""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lazybuild.store import disk, lock
from lazybuild.store.remove import remove_tree

_NEWBORN = 60.0  # seconds; between its creation and its lock nobody may take it for a ruin


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchFile:
    """An open temporary file; `close` removes it if it still has its temporary name."""

    path: Path
    stream: BinaryIO

    def close(self) -> None:
        with disk.tidying():
            self.stream.close()
            self.path.unlink(missing_ok=True)


class Scratch:
    """The `tmp/` of a store."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def file(self, prefix: str) -> ScratchFile:
        path = self._name(prefix)
        with disk.translated(self.root):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        lock.claim(fd)
        return ScratchFile(path=path, stream=os.fdopen(fd, "wb"))

    @contextmanager
    def directory(self, prefix: str) -> Iterator[Path]:
        """A directory that is removed at the end, with all that is still in it."""
        path = self._name(prefix)
        with disk.translated(self.root):
            path.mkdir(mode=0o700)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        lock.claim(fd)
        try:
            yield path
        finally:
            os.close(fd)
            with disk.tidying():
                if path.exists():
                    remove_tree(path)

    def trash(self, path: Path) -> Path | None:
        """Move a directory out of sight at once; `sweep` removes it. None if it is gone already."""
        target = self._name("trash")
        try:
            os.rename(path, target)  # noqa: PTH104 - the crash tests count these calls
        except FileNotFoundError:
            return None
        return target

    def sweep(self, newborn: float = _NEWBORN) -> list[str]:
        """Remove what dead processes left; returns what could not be removed, and why."""
        stuck = []
        for path in sorted(self.root.iterdir()):
            try:
                if self._is_ruin(path, newborn):
                    _remove(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                stuck.append(f"{path}: {error.strerror}")
        return stuck

    def _is_ruin(self, path: Path, newborn: float) -> bool:
        if path.name.startswith("trash-"):
            return True
        age = time.time() - path.lstat().st_mtime
        return age > newborn and not lock.is_owned(path)

    def _name(self, prefix: str) -> Path:
        return self.root / f"{prefix}-{secrets.token_hex(8)}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink()
