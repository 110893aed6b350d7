"""Layers laid over one another in one directory, where nothing can stack them. An edge.

Whiteouts take away what lower layers left; what a layer has itself stays, in whatever order its
entries come. Everything else is as in `unpack`. Runs where the ids are; one thread.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from lazybuild.errors import IntegrityError
from lazybuild.estargz.entry import Item
from lazybuild.estargz.names import shown
from lazybuild.snapshots import paths
from lazybuild.snapshots.draft import OPAQUE, WHITEOUT
from lazybuild.snapshots.unpack import Unpacker
from lazybuild.store.remove import remove_at


def apply(items: Iterable[Item], root: Path) -> None:
    """Lay one more layer over what `root` holds."""
    with Applier(root) as applier:
        for item in items:
            applier.add(item)


class Applier(Unpacker):
    """One layer on its way over others."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._own: set[str] = set()

    def _place(self, item: Item) -> None:
        name = item.entry.name
        if not paths.base(name).startswith(WHITEOUT):
            self._own.add(name)
            self._own.update(paths.ancestors(name))
        super()._place(item)

    def _white_out(self, directory: int, name: str, path: str) -> None:
        above = paths.parent(path)
        if name == OPAQUE:
            self._clear(directory, above)
            return
        hidden = name.removeprefix(WHITEOUT)
        if hidden in ("", ".", ".."):
            raise IntegrityError(f"whiteout of nothing: {shown(name)}")
        self._take_away(directory, os.fsencode(hidden), paths.join(above, hidden))

    def _take_away(self, directory: int, name: bytes, path: str) -> None:
        """Remove what lower layers have under this name; a directory of this layer just loses what
        they had in it.
        """
        if path not in self._own:
            self._forget_parent()
            remove_at(directory, name)
            return
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            below = os.open(name, flags, dir_fd=directory)
        except NotADirectoryError:
            return
        try:
            self._clear(below, path)
        finally:
            os.close(below)

    def _clear(self, directory: int, path: str) -> None:
        here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            for name in os.listdir(here):
                self._take_away(here, os.fsencode(name), paths.join(path, name))
        finally:
            os.close(here)
