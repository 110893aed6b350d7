"""Runs inside the step that ranks files (`exact`): `python -m frontend.rank ORDERS`. An edge.

What is read first of the image as a whole, told to the layer that each file is from. Those of the
base image are nobody's: its layers stay as they are.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from frontend.orders import from_json, wanted
from frontend.places import NAMES, OUT, TOPS, TRACES
from frontend.seen import numbered, seen_in
from lazybuild.snapshots.difference import same
from lazybuild.snapshots.dirtree import DirTree


def main() -> int:
    tops = [DirTree(path) for path in numbered(Path(TOPS), 1)]
    base = Path(TOPS) / "0"
    below = [DirTree(base) if base.is_dir() else None, *tops[:-1]]
    names = wanted(tops[-1], from_json(sys.argv[1]), seen_in(Path(TRACES)))
    for number, found in enumerate(ranked(below, tops, names), 1):
        place = Path(OUT) / str(number)
        place.mkdir()
        (place / NAMES).write_text(json.dumps(found))
    return 0


def ranked(
    below: Sequence[DirTree | None], tops: Sequence[DirTree], names: Iterable[str]
) -> list[list[str]]:
    """For each layer those of the names that it gives to the image, in their order."""
    found: list[list[str]] = [[] for _ in tops]
    for name in names:
        for number in reversed(range(len(tops))):
            if not same(below[number], tops[number], name):
                found[number].append(name)
                break
    return found


if __name__ == "__main__":
    sys.exit(main())
