"""Room that a store sets aside, so that a full disk can still be told what to remove.

The database can't be opened, nor a row deleted, without room. Knows nothing of what it is for.
"""

import os
from pathlib import Path
from typing import Final

SIZE: Final = 1 << 20
NAME: Final = "reserve"


def keep(root: Path) -> None:
    """Set the room aside where there is plenty; that there is none is for the work to find out."""
    path = root / NAME
    if path.exists() or _free(root) < 4 * SIZE:
        return
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, SIZE)
    finally:
        os.close(fd)


def spend(root: Path) -> None:
    """Give it back, before removing things; the next use of the store sets it aside again."""
    (root / NAME).unlink(missing_ok=True)


def _free(root: Path) -> int:
    found = os.statvfs(root)
    return found.f_bavail * found.f_frsize
