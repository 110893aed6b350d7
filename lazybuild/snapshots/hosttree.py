"""A directory of the host as a tree: the build context. An edge.

Everything in it belongs to 0:0. What the ignore rules leave out is not there, and a directory of
which they leave nothing is not even read. Digests of files are remembered across builds by what
changes when a file does (device, inode, size, mtime, ctime).
"""

import errno
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from lazybuild.errors import BuildError
from lazybuild.estargz.entry import NO_XATTRS, Kind
from lazybuild.snapshots import paths, xattrs
from lazybuild.snapshots.anchored import AnchoredDir, inside
from lazybuild.snapshots.filehash import sha256_of
from lazybuild.snapshots.statnode import kind_of, node_of
from lazybuild.snapshots.tree import ROOT, Node, not_a_file

SETTLED_NS = 50_000_000  # a file that changed within this time may change again unseen


_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class FileKey(NamedTuple):
    """What identifies a state of a file, without reading it."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int


class FileDigests(Protocol):
    """A memory of file digests that outlives the build. Losing it costs time, nothing else."""

    def load(self, keys: Sequence[FileKey]) -> Mapping[FileKey, str]: ...

    def save(self, digests: Mapping[FileKey, str]) -> None: ...


class Ignore(Protocol):
    """The rules of an ignore file."""

    def excludes(self, path: str) -> bool:
        """Whether a name, whatever the directories above it say, is left out."""
        ...

    def may_include_below(self, path: str) -> bool:
        """Whether something inside the excluded directory could be taken in again."""
        ...


class NoDigests:
    def load(self, keys: Sequence[FileKey]) -> Mapping[FileKey, str]:
        del keys
        return {}

    def save(self, digests: Mapping[FileKey, str]) -> None:
        del digests


class NoIgnore:
    def excludes(self, path: str) -> bool:
        del path
        return False

    def may_include_below(self, path: str) -> bool:
        del path
        return True


class HostTree:
    """A `Tree` of a host directory; call `flush` when its digests have been taken."""

    def __init__(
        self,
        root: Path,
        *,
        ignore: Ignore | None = None,
        digests: FileDigests | None = None,
    ) -> None:
        self._anchor = AnchoredDir(root)
        self._ignore = ignore or NoIgnore()
        self._plain = ignore is None
        self._memory = digests or NoDigests()
        self._nodes: dict[str, dict[str, Node]] = {}
        self._keys: dict[str, dict[str, FileKey]] = {}
        self._known: dict[str, dict[FileKey, str]] = {}
        self._fresh: dict[FileKey, str] = {}
        self._lock = threading.RLock()

    @property
    def root(self) -> Path:
        return self._anchor.root

    def lookup(self, path: str) -> Node | None:
        if not path:
            return ROOT
        directory, _, name = path.rpartition("/")
        return self._directory(directory).get(name)

    def children(self, path: str) -> Sequence[str]:
        return sorted(self._directory(path), key=os.fsencode)

    def open(self, path: str) -> BinaryIO:
        if self.lookup(path) is None:
            raise not_a_file(path)
        return self._anchor.open(path)

    def digest(self, path: str) -> str:
        directory, _, name = path.rpartition("/")
        self._directory(directory)
        key = self._keys[directory].get(name)
        if key is None:
            raise not_a_file(path)
        known = self._remembered(directory)
        if key not in known:
            known[key] = self._hash(path, key)
        return known[key]

    def flush(self) -> None:
        """Hand new digests to the memory."""
        with self._lock:
            fresh, self._fresh = self._fresh, {}
        if fresh:
            self._memory.save(fresh)

    def _hash(self, path: str, key: FileKey) -> str:
        with self._anchor.open(path) as stream:
            digest = sha256_of(stream)
            unchanged = _key(os.fstat(stream.fileno())) == key
        if unchanged and time.time_ns() - max(key.mtime_ns, key.ctime_ns) > SETTLED_NS:
            with self._lock:
                self._fresh[key] = digest
        return digest

    def _remembered(self, directory: str) -> dict[FileKey, str]:
        known = self._known.get(directory)
        if known is None:
            keys = list(self._keys[directory].values())
            known = self._known.setdefault(directory, dict(self._memory.load(keys)))
        return known

    def _directory(self, path: str) -> dict[str, Node]:
        known = self._nodes.get(path)
        if known is None:
            with self._lock:
                for directory in paths.ancestors(path):
                    self._load(directory)
                known = self._load(path)
        return known

    def _load(self, path: str) -> dict[str, Node]:
        if path not in self._nodes:
            self._nodes[path] = self._read(path)
        return self._nodes[path]

    def _read(self, path: str) -> dict[str, Node]:
        self._keys[path] = {}
        if path:
            node = self.lookup(path)
            if node is None or node.kind is not Kind.DIR:
                return {}
        nodes = self._listed(path)
        if not self._plain:
            self._drop_empty(path, nodes)
        return nodes

    def _listed(self, path: str) -> dict[str, Node]:
        nodes: dict[str, Node] = {}
        try:
            with self._anchor.listing(path) as fd, os.scandir(fd) as entries:
                for entry in entries:
                    node = self._entry(fd, path, entry)
                    if node is not None:
                        nodes[entry.name] = node
        except OSError as error:
            if error.errno in _GONE:
                return {}
            raise BuildError(f"{self.root / path}: {error.strerror}") from error
        return nodes

    def _entry(self, fd: int, directory: str, entry: "os.DirEntry[str]") -> Node | None:
        if not self._plain and self._left_out(paths.join(directory, entry.name), entry):
            return None
        try:
            status = entry.stat(follow_symlinks=False)
            return self._node(fd, directory, entry.name, status)
        except OSError as error:
            if error.errno in (*_GONE, errno.EINVAL):  # went away, or is something else by now
                return None
            raise

    def _left_out(self, path: str, entry: "os.DirEntry[str]") -> bool:
        if not self._ignore.excludes(path):
            return False
        return not (entry.is_dir(follow_symlinks=False) and self._ignore.may_include_below(path))

    def _node(self, fd: int, directory: str, name: str, status: os.stat_result) -> Node | None:
        kind = kind_of(status)
        if kind is None:
            return None
        if kind is Kind.REG:
            self._keys[directory][name] = _key(status)
        link = os.readlink(name, dir_fd=fd) if kind is Kind.SYMLINK else ""
        host = inside(fd, name)
        found = xattrs.read(host) if kind in (Kind.REG, Kind.DIR) else NO_XATTRS
        return node_of(status, kind, link=link, owner=(0, 0), xattrs=found)

    def _drop_empty(self, directory: str, nodes: dict[str, Node]) -> None:
        """Take out excluded directories in which nothing was taken in again."""
        for name, node in list(nodes.items()):
            path = paths.join(directory, name)
            if node.kind is Kind.DIR and self._ignore.excludes(path):
                self._nodes[directory] = nodes
                if not self._directory(path):
                    del nodes[name]


def _key(status: os.stat_result) -> FileKey:
    return FileKey(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )
