"""Several things at once in a process that may still have to enter a namespace.

Threads are gone when this returns, for the kernel, too: it forgets a thread a moment after Python
has joined it, and a process with a second thread may not change its user namespace.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

WORKERS = 8
_PATIENCE = 2.0


def all_of(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Do every task; their values in order, or the first failure in order."""
    if len(tasks) <= 1:
        return [task() for task in tasks]
    before = _threads()
    with ThreadPoolExecutor(max_workers=min(WORKERS, len(tasks))) as pool:
        futures = [pool.submit(task) for task in tasks]
    _settle(before)
    return [future.result() for future in futures]


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - the count of names is all


def _settle(wanted: int) -> None:
    end = time.monotonic() + _PATIENCE
    while _threads() > wanted and time.monotonic() < end:
        time.sleep(0.001)
