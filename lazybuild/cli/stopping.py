"""How signals end a build: the stop event first, so that every thread and step learns of it, then
an exception in the main thread. What does not end then in a few seconds, such as a registry that
does not answer, is left; a second signal ends the process at once. Either is as harmless as any
kill: steps die with their builder, and its mounts with its namespace.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Interrupted(BaseException):
    """The process was asked to end, with this exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


GRACE = 4.0  # seconds to end in, of the ten that CI systems give

_events: list[threading.Event] = []


@contextmanager
def armed(event: threading.Event) -> Iterator[None]:
    """While this holds, a signal sets `event` too."""
    _events.append(event)
    try:
        yield
    finally:
        _events.remove(event)


@contextmanager
def limited(seconds: float, text: str) -> Iterator[None]:
    """End what takes longer than this; 0 seconds are no limit."""
    if not seconds:
        yield
        return

    def late(*_: object) -> None:
        _end(f"not done after {text} (--timeout)", 1)

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGALRM) is late:  # else it watches over the end
            signal.setitimer(signal.ITIMER_REAL, 0)


def install() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
    signal.signal(number, signal.SIG_DFL)
    _end(f"interrupted by signal {number}", 128 + number)


def _end(message: str, code: int) -> NoReturn:
    signal.signal(signal.SIGALRM, lambda *_: os._exit(code))
    signal.setitimer(signal.ITIMER_REAL, GRACE)
    for event in _events:
        event.set()
    raise Interrupted(message, code)
