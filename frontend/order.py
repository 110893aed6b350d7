"""Runs inside the step that `hot` describes: `python -m frontend.order ORDERS`. An edge.

The image lies at IMAGE and is hostile, but this container holds nothing else. Names are resolved
as if the image were "/"; what has several names or is no regular file stays where it is.

BuildKit leaves a file out of a layer when it looks as it did below, so each gets a time one second
later. Python sources keep theirs, and their place: their compiled files, which are what is read,
know them by it.
"""

import os
import shutil
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from frontend.hot import FIRST, IMAGE, LANDMARK
from frontend.orders import from_json, wanted
from frontend.places import TRACES
from frontend.seen import seen_in
from lazybuild.snapshots.hosttree import HostTree

CONTENT = b"\x0f"
SECOND = 1_000_000_000


def main() -> int:
    root = Path(IMAGE)
    names = wanted(HostTree(root), from_json(sys.argv[1]), seen_in(Path(TRACES)))
    count = put_first(root, names)
    sys.stderr.write(f"{count} files put first\n")
    return 0


def put_first(root: Path, names: Iterable[str]) -> int:
    """Copy the files into one directory, in order, and make their names links to the copies."""
    folder = root / FIRST
    before = root.stat()
    folder.mkdir(mode=0o700)
    count = 0
    for name in names:
        path = root / name
        if _movable(path):
            count += 1
            _move(path, folder / f"{count:05}")
    (root / LANDMARK).write_bytes(CONTENT)
    for path in (folder, root / LANDMARK):
        os.utime(path, (0, 0))
    os.utime(root, ns=(before.st_atime_ns, before.st_mtime_ns))
    return count


def _movable(path: Path) -> bool:
    """A file with one name: the tie between several names would be cut."""
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and path.suffix != ".py"


def _move(path: Path, copy: Path) -> None:
    status, around = path.lstat(), path.parent.lstat()
    shutil.copyfile(path, copy)
    os.chown(copy, status.st_uid, status.st_gid)
    shutil.copystat(path, copy)
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns + SECOND))
    path.unlink()
    path.hardlink_to(copy)
    os.utime(path.parent, ns=(around.st_atime_ns, around.st_mtime_ns))


if __name__ == "__main__":
    sys.exit(main())
