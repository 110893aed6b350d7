"""A blob as a row of cells: how many bytes of each were fetched and read, or fetched in vain.

Pure; knows no layer.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

MOST_CELLS, LEAST_CELLS, CELL = 1024, 64, 16 << 10


class Cell(NamedTuple):
    """Bytes of the blob in cell `number`: read from the cache, fetched because they were read,
    fetched ahead and then read, fetched and not read by anyone.
    """

    number: int
    kept: int = 0
    asked: int = 0
    ahead: int = 0
    spare: int = 0


class Part(NamedTuple):
    """The bytes `start:end` of a blob; `state` is the name of a field of `Cell`."""

    start: int
    end: int
    state: str


def cells_for(size: int) -> int:
    """Into how many cells a blob of so many bytes is cut."""
    return min(MOST_CELLS, max(LEAST_CELLS, size // CELL))


def draw(parts: Iterable[Part], *, size: int, count: int) -> tuple[Cell, ...]:
    """The cells that anything lies in, of the `count` that a blob of `size` bytes has."""
    found: dict[int, dict[str, int]] = {}
    for part in parts:
        for number, amount in _spread(part, size, count):
            cell = found.setdefault(number, {})
            cell[part.state] = cell.get(part.state, 0) + amount
    return tuple(Cell(number, **found[number]) for number in sorted(found))


def _spread(part: Part, size: int, count: int) -> Iterator[tuple[int, int]]:
    start, end = part.start, min(part.end, size)
    while start < end:
        number = start * count // size
        border = -(-(number + 1) * size // count)  # where the next cell begins
        yield number, min(end, border) - start
        start = border
