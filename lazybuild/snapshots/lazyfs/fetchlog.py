"""What was asked for of one blob, and when: the material of a timeline. Bounded; safe in threads.

Knows no wire and no layer. The first requests of a blob tell the most, so that those beyond the
bound are counted and no longer kept.
"""

import threading
import time
from typing import NamedTuple

from lazybuild.oci.ranges import RangeReader

MAX_FETCHES = 2000


class Fetch(NamedTuple):
    """One request that was answered: bytes of the blob, and seconds of `time.time()`.

    `why` is a `layer.Why` in lower case; "toc", "direct" and "whole" are not for chunks.
    """

    begin: float
    end: float
    offset: int
    length: int
    why: str


class FetchLog:
    """The requests for one blob in the order of their answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fetches: list[Fetch] = []
        self._requests = self._bytes = 0

    def add(self, begin: float, offset: int, length: int, why: str) -> None:
        """Note a request that began at `begin` and is answered now."""
        fetch = Fetch(begin, time.time(), offset, length, why)
        with self._lock:
            self._requests += 1
            self._bytes += length
            if len(self._fetches) < MAX_FETCHES:
                self._fetches.append(fetch)

    @property
    def fetches(self) -> tuple[Fetch, ...]:
        with self._lock:
            return tuple(self._fetches)

    @property
    def requests(self) -> int:
        """How many there were, those that are no longer kept among them."""
        return self._requests

    @property
    def bytes(self) -> int:
        return self._bytes


class Logged:
    """A `RangeReader` that notes in `log` what it is asked for."""

    def __init__(self, ranges: RangeReader, log: FetchLog, why: str) -> None:
        self._ranges, self._log, self._why = ranges, log, why

    @property
    def size(self) -> int:
        return self._ranges.size

    def read_at(self, offset: int, length: int) -> bytes:
        begin = time.time()
        data = self._ranges.read_at(offset, length)
        self._log.add(begin, offset, length, self._why)
        return data
