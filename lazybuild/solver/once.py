"""Two small tools of threads: compute a thing once, and do several things at once."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from typing import Generic, TypeVar

from lazybuild.linux.shortage import begun

THREADS = 64
T = TypeVar("T")


class StoppedError(Exception):
    """The work was given up because something else failed, or the user asked for it."""


class Once(Generic[T]):
    """A value that the first caller computes while the others wait; a failure is kept likewise."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done = False
        self._value: T | None = None
        self._error: BaseException | None = None

    def get(self, compute: Callable[[], T]) -> T:
        with self._lock:
            if not self._done:
                self._fill(compute)
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # filled by _fill, or the error was raised

    def peek(self) -> T | None:
        """The value if it is there already; None while it is not, or when it failed."""
        return self._value if self._done else None

    def _fill(self, compute: Callable[[], T]) -> None:
        try:
            self._value = compute()
        except BaseException as error:  # noqa: BLE001 - kept, and raised to every caller
            self._error = error
        self._done = True


def gather(tasks: Sequence[Callable[[], T]], *, parallel: bool) -> list[T]:
    """Do all tasks and return their values in order.

    The first task runs in the calling thread, each other in a thread of its own: they wait for one
    another's parts through `Once`, so that a bounded pool could stand still. What has no thread,
    because there are too many, the caller does. When tasks fail, the first failure in order that is
    not just a `StoppedError` is raised, once all have ended.
    """
    cells = [Once[T]() for _ in tasks]
    pairs = list(zip(cells, tasks, strict=True))
    threads = [
        threading.Thread(target=outcome, args=(partial(cell.get, task),), daemon=True)
        for cell, task in pairs[1 : 1 + THREADS]
        if parallel
    ]
    threads = list(takewhile(begun, threads))
    errors = []
    for cell, task in pairs:
        error = outcome(partial(cell.get, task))
        errors.append(error)
        if error is not None and not parallel:
            break
    for thread in threads:
        thread.join()
    _raise_first([error for error in errors if error is not None])
    return [cell.get(task) for cell, task in pairs]


class Others:
    """Tasks in threads of their own, beside what the caller does. Their values are kept elsewhere,
    and so are their failures, for whoever wants the values.
    """

    def __init__(self, tasks: Sequence[Callable[[], object]]) -> None:
        self._errors: list[BaseException | None] = [None] * len(tasks)
        self._threads = [
            threading.Thread(target=self._do, args=pair, daemon=True) for pair in enumerate(tasks)
        ]
        self._threads = list(takewhile(begun, self._threads))

    def wait(self) -> None:
        for thread in self._threads:
            thread.join()

    def raise_failure(self) -> None:
        """The first failure that is one, once they have ended."""
        errors = [error for error in self._errors if not isinstance(error, StoppedError)]
        _raise_first([error for error in errors if error is not None])

    def _do(self, number: int, task: Callable[[], object]) -> None:
        self._errors[number] = outcome(task)


def outcome(task: Callable[[], object]) -> BaseException | None:
    """The error of a task whose value is kept elsewhere."""
    try:
        task()
    except BaseException as error:  # noqa: BLE001 - for whoever wants the value to raise
        return error
    return None


def _raise_first(errors: Sequence[BaseException]) -> None:
    for error in errors:
        if not isinstance(error, StoppedError):
            raise error
    if errors:
        raise errors[0]
