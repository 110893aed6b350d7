"""Columns of text, as wide as their widest cell. Pure."""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lines with two or more spaces between cells and none at the end."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = (
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)
