"""The seam that a file, a registry blob, a cache and a test share: random access to bytes."""

from typing import Protocol


class RangeReader(Protocol):
    """Random access to one immutable blob, wherever it lives. Safe to call from many threads."""

    @property
    def size(self) -> int:
        """Bytes of the whole blob."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; a range past the end is an error of the caller."""
        ...
