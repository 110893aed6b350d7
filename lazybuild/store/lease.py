"""Leases: living processes that use the store. What is used after the oldest began, stays.

A lease is a file that its holder keeps locked; the kernel frees the lock of a dead holder. A lease
names no objects: whatever a build makes or looks up is marked with the time, which is later than
its lease.
"""

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lazybuild.store import lock


class Leases:
    """The `leases/` of a store."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Keep the collector away from all that is used from now on."""
        path = self._root / f"{time.time():.6f}-{secrets.token_hex(8)}"
        with lock.held(path):
            path.write_text(json.dumps({"name": name, "pid": os.getpid()}))
            yield

    def oldest(self) -> float | None:
        """When the oldest living lease began, in seconds; the dead ones are removed."""
        living = [_began(path) for path in sorted(self._root.iterdir()) if _alive(path)]
        return min(living, default=None)


def _began(path: Path) -> float:
    head, _, _ = path.name.partition("-")
    try:
        return float(head)
    except ValueError:
        return 0.0


def _alive(path: Path) -> bool:
    fd = lock.try_acquire(path)
    if fd is None:
        return True
    lock.release(path, fd)
    return False
