"""A directory of a checkout as the reference ships it: modes of git, owners 0:0. An engine."""

from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO

from lazybuild.estargz.entry import Kind
from lazybuild.snapshots import paths
from lazybuild.snapshots.tree import Node, Tree

_MODES = {Kind.DIR: 0o755, Kind.SYMLINK: 0o777}


class CheckedOut:
    """`tree` below `top`, without `.git` unless it is to be kept.

    Files are 0644 or 0755, whatever the umask was; `mtime` (nanoseconds) dates everything.
    """

    def __init__(
        self, tree: Tree, top: str, *, keep_git_dir: bool = False, mtime: int | None = None
    ) -> None:
        self._tree = tree
        self._top = top
        self._keep = keep_git_dir
        self._mtime = mtime

    def lookup(self, path: str) -> Node | None:
        if self._hidden(path):
            return None
        node = self._tree.lookup(paths.join(self._top, path))
        if node is None:
            return None
        mode = _MODES.get(node.kind, 0o755 if node.mode & 0o100 else 0o644)
        mtime = node.mtime if self._mtime is None else self._mtime
        return replace(node, mode=mode, mtime=mtime, identity=None)

    def children(self, path: str) -> Sequence[str]:
        names = self._tree.children(paths.join(self._top, path))
        return [name for name in names if not self._hidden(paths.join(path, name))]

    def open(self, path: str) -> BinaryIO:
        return self._tree.open(paths.join(self._top, path))

    def digest(self, path: str) -> str:
        return self._tree.digest(paths.join(self._top, path))

    def _hidden(self, path: str) -> bool:
        """The repository's own data; in submodules `.git` is a file that points to it."""
        return not self._keep and ".git" in path.split("/")
