"""A layer's blob as a field of cells, row by row from its first byte to its last. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lazybuild.build.inspection import EAGER
from lazybuild.build.journal import Journal
from lazybuild.cli.report.markup import Html, element, join
from lazybuild.cli.summary import amount
from lazybuild.snapshots.lazyfs.blobmap import Cell, Part, draw

COLUMNS = 64
SIDE = 14
STATES = ("asked", "ahead", "kept", "spare")
STRONG, MIDDLE = 0.6, 0.2


class Field(NamedTuple):
    """The picture, and how many bytes of the blob one of its cells stands for."""

    svg: Html
    cell: int


def field(journal: Journal, landmark: int, most: int) -> Field:
    """An SVG of at most `most` cells. `landmark` is where the files put first end, in bytes."""
    size = journal.layer.size
    cells, count = fewer(journal.cells, journal.count, most)
    rows = -(-count // COLUMNS)
    width, height = min(COLUMNS, count) * SIDE, rows * SIDE
    svg = element(
        "svg",
        element("title", alternative(journal)),
        element("path", class_="none", d=outline(count)),
        join(_contents(journal, cells, size, count)),
        element("rect", width=width, height=height, fill="url(#grid)"),
        _mark(landmark, size, count),
        class_="field",
        viewBox=f"-1 -1 {width + 2} {height + 2}",
        role="img",
        style=f"max-width:{width + 2}px",
    )
    return Field(svg, -(-size // count))


def alternative(journal: Journal) -> str:
    """The picture in words."""
    touched = sum(sum(cell[1:]) for cell in journal.cells)
    return f"{amount(touched)} of {amount(journal.layer.size)} were touched"


def fewer(cells: Sequence[Cell], count: int, most: int) -> tuple[Sequence[Cell], int]:
    """Neighbours put together until there are no more than `most`."""
    step = -(-count // most)
    if step == 1:
        return cells, count
    found: dict[int, Cell] = {}
    for cell in cells:
        number = cell.number // step
        old = found.get(number, Cell(number))
        found[number] = Cell(number, *(a + b for a, b in zip(old[1:], cell[1:], strict=True)))
    return list(found.values()), -(-count // step)


def outline(count: int) -> str:
    """The path around the first cells: whole rows, and what the last one has."""
    rows, rest = divmod(count, COLUMNS)
    full = min(COLUMNS, count) * SIDE
    if not rest or not rows:
        return f"M0 0H{full}V{max(rows, 1) * SIDE}H0Z"
    return f"M0 0H{full}V{rows * SIDE}H{rest * SIDE}V{(rows + 1) * SIDE}H0Z"


def _contents(journal: Journal, cells: Sequence[Cell], size: int, count: int) -> Iterator[Html]:
    kinds = {cell.number: "toc" for cell in _toc(journal, size, count)}
    kinds |= {cell.number: _kind(cell, size / count, journal.layer.mode) for cell in cells}
    yield from (_run(start, length, kind) for start, length, kind in runs(kinds))


def _toc(journal: Journal, size: int, count: int) -> Sequence[Cell]:
    read = [it for it in journal.fetches if it.why == "toc"]
    return draw(
        (Part(it.offset, it.offset + it.length, "asked") for it in read), size=size, count=count
    )


def _kind(cell: Cell, full: float, mode: str) -> str:
    """The state that most of its touched bytes have, and how much of it that is."""
    state = "whole" if mode == EAGER else max(STATES, key=lambda name: int(getattr(cell, name)))
    share = sum(cell[1:]) / full
    return f"{state} {'s3' if share > STRONG else 's2' if share > MIDDLE else 's1'}"


def runs(kinds: dict[int, str]) -> Iterator[tuple[int, int, str]]:
    """(first, how many, kind) of equal neighbours in one row."""
    start, length, current = 0, 0, ""
    for number in sorted(kinds):
        goes_on = number == start + length and number % COLUMNS and kinds[number] == current
        if length and goes_on:
            length += 1
            continue
        if length:
            yield start, length, current
        start, length, current = number, 1, kinds[number]
    if length:
        yield start, length, current


def _run(start: int, length: int, kind: str) -> Html:
    row, column = divmod(start, COLUMNS)
    x, y, width = column * SIDE, row * SIDE, length * SIDE
    return element("rect", class_=kind, x=x, y=y, width=width, height=SIDE)


def _mark(landmark: int, size: int, count: int) -> Html:
    if not landmark or not size:
        return Html("")
    first = min(count, -(-landmark * count // size))
    title = element("title", f"put first in the layer: {amount(landmark)}")
    return element("path", title, class_="first", d=outline(first))
