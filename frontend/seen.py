"""What a traced step leaves: names of opened files, each ended by a zero byte. Written by
`tracer`, read by the steps that order files.
"""

import os
from collections.abc import Iterator
from pathlib import Path

OPENS = "seen/opens"
MAX_BYTES = 16 << 20


def seen_in(folder: Path) -> list[str]:
    """The names that the steps of a build opened, in the order of steps and of first use."""
    return [name for place in numbered(folder, 0) for name in read(place)]


def read(folder: Path) -> list[str]:
    """The names that one step opened; none if it left nothing."""
    try:
        with (folder / OPENS).open("rb") as file:
            data = file.read(MAX_BYTES)
    except FileNotFoundError:
        return []
    return [os.fsdecode(name) for name in data.split(b"\0")[:-1]]


def numbered(folder: Path, first: int) -> Iterator[Path]:
    """The directories called FIRST, FIRST + 1 and so on."""
    number = first
    while (folder / str(number)).is_dir():
        yield folder / str(number)
        number += 1
