"""The mounted file system of one step, and how what it wrote becomes a layer. An edge.

A step's upper directory lies where the finished layer will be renamed from, so that a layer
appears whole or not at all: unmount, rename, and only then the row in the store (`manager`).
"""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lazybuild.linux import idspace, syscalls
from lazybuild.linux.ownernotes import ROOT, Owner
from lazybuild.snapshots import overlay, recorded

Publish = Callable[[Path], str]


class Running(Protocol):
    """The root of a step, `merged`, and what becomes of it once the step is over."""

    @property
    def merged(self) -> Path: ...

    def ended(self, moved: Collection[int]) -> None:
        """`moved` are inodes of files that were out of the step's way while it ran."""
        ...

    def note_owner(self, owner: Owner) -> None: ...

    def commit(self) -> str: ...


@dataclass(kw_only=True)
class Step:
    """`merged` is the root that the step sees, `upper` what it wrote."""

    merged: Path
    upper: Path
    publish: Publish
    mounted: bool = field(default=True)

    def ended(self, moved: Collection[int]) -> None:
        """Overlay knows what was written."""

    def commit(self) -> str:
        """Unmount and keep what was written; the id of the new layer."""
        self.unmount()
        return self.publish(self.upper.parent)

    def note_owner(self, owner: Owner) -> None:
        """Where a file can't have an owner of its own, say whose what was made is."""
        self.unmount()
        if owner != ROOT:
            recorded.note_all_new(self.upper, owner)

    def unmount(self) -> None:
        if self.mounted:
            syscalls.umount(self.merged, syscalls.MNT_DETACH)
            self.mounted = False


@contextmanager
def prepared(lowers: Sequence[Path], home: Path, publish: Publish) -> Iterator[Step]:
    """A writable overlay over `lowers` (bottom first), made in `home`, which the caller removes."""
    upper = home / "layer" / "fs"
    for path in (upper, home / "work", home / "merged", home / "empty"):
        path.mkdir(parents=True, mode=0o755)
    if lowers:
        _take_after(upper, lowers[-1])
    stack = overlay.Overlay(lowers=lowers, empty=home / "empty", upper=upper, work=home / "work")
    overlay.mount(stack, home / "merged")
    step = Step(merged=home / "merged", upper=upper, publish=publish)
    try:
        yield step
    finally:
        step.unmount()


@contextmanager
def viewed(lowers: Sequence[Path], home: Path) -> Iterator[Path]:
    """A read-only overlay over `lowers`, made in `home`."""
    for path in (home / "merged", home / "empty"):
        path.mkdir(parents=True, mode=0o755)
    stack = overlay.Overlay(lowers=lowers, empty=home / "empty")
    with overlay.mounted(stack, home / "merged") as merged:
        yield merged


def _take_after(upper: Path, lower: Path) -> None:
    """The root of the merged view is the upper directory itself: it has to look like the base's."""
    status = os.stat(lower)
    os.chown(upper, status.st_uid, status.st_gid)
    noted = recorded.owner_of(os.fspath(lower)) if idspace.only_one() else None
    if noted is not None:
        recorded.note(os.fspath(upper), noted)
    os.chmod(upper, status.st_mode & 0o7777)
