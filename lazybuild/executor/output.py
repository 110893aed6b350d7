"""Cuts what a step writes into whole lines, per stream, and lets a pause end one. No I/O."""

import time
from collections.abc import Callable
from typing import Final

OnOutput = Callable[[int, bytes], None]

PAUSE: Final = 0.2  # seconds after which the start of a line is passed on: prompts, progress bars
LONGEST: Final = 64 * 1024


class Lines:
    """Collects one stream; `sink` gets whole lines, or less after a pause or at the end."""

    def __init__(self, stream: int, sink: OnOutput) -> None:
        self._stream, self._sink = stream, sink
        self._rest = b""
        self._since = 0.0

    @property
    def waiting(self) -> bool:
        return bool(self._rest)

    def feed(self, data: bytes) -> None:
        whole, newline, rest = (self._rest + data).rpartition(b"\n")
        if newline:
            self._sink(self._stream, whole + newline)
        self._rest, self._since = rest, time.monotonic()
        if len(rest) > LONGEST:
            self.flush()

    def pause(self) -> None:
        """Pass on what waits if it has waited long enough."""
        if self._rest and time.monotonic() - self._since >= PAUSE:
            self.flush()

    def flush(self) -> None:
        if self._rest:
            self._sink(self._stream, self._rest)
            self._rest = b""
