"""How signals end a build: the stop event first, so that every thread and step learns of it, then
an exception in the main thread. The second signal ends the process at once.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """A signal asked the process to end; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


_events: list[threading.Event] = []


@contextmanager
def armed(event: threading.Event) -> Iterator[None]:
    """While this holds, a signal sets `event` too."""
    _events.append(event)
    try:
        yield
    finally:
        _events.remove(event)


def install() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
    signal.signal(number, signal.SIG_DFL)
    for event in _events:
        event.set()
    raise Interrupted(number)
