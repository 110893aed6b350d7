"""A directory of the host as a tree: the build context. An edge.

Everything in it belongs to 0:0. What the ignore rules leave out is not there, and a directory of
which they leave nothing is not even read. Digests of files are remembered across builds by what
changes when a file does (device, inode, size, mtime, ctime), and with them whether a file has no
attributes, so that a file that is remembered is not opened nor asked for any.
"""

import errno
import os
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
PLAIN = " plain"  # stands behind the digest of a file that has no attributes

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_WITH_XATTRS = (Kind.REG, Kind.DIR)


class FileKey(NamedTuple):
    """What identifies a state of a file, without reading it."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int


class FileDigests(Protocol):
    """A memory of file digests that outlives the build. Losing it costs time, nothing else.

    It keeps `sha256:<hex>`, with PLAIN behind it where that is known.
    """

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
        self._anchor = AnchoredDir(root, hold=True)
        self._ignore = ignore or NoIgnore()
        self._plain = ignore is None
        self._memory = digests or NoDigests()
        self._nodes: dict[str, dict[str, Node]] = {}
        self._keys: dict[str, dict[str, FileKey]] = {}
        self._known: dict[FileKey, str] = {}
        self._seen: dict[str, int] = {}  # when a directory was read, in nanoseconds
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
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._hash(path, key)
        return known.removesuffix(PLAIN)

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
        directory, _, name = path.rpartition("/")
        if not self._nodes[directory][name].xattrs:
            digest += PLAIN
        if unchanged and self._settled(directory, key):
            with self._lock:
                self._fresh[key] = digest
        return digest

    def _settled(self, directory: str, key: FileKey) -> bool:
        return self._seen[directory] - max(key.mtime_ns, key.ctime_ns) > SETTLED_NS

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
        self._seen[path] = time.time_ns()
        nodes: dict[str, Node] = {}
        try:
            with self._anchor.listing(path) as fd, os.scandir(fd) as entries:
                found = dict(self._statuses(path, entries))
                self._recall(path, found)
                for name, status in found.items():
                    node = self._node(fd, path, name, status)
                    if node is not None:
                        nodes[name] = node
        except OSError as error:
            if error.errno in _GONE:
                return {}
            raise BuildError(f"{self.root / path}: {error.strerror}") from error
        return nodes

    def _statuses(
        self, directory: str, entries: "Iterable[os.DirEntry[str]]"
    ) -> Iterator[tuple[str, os.stat_result]]:
        for entry in entries:
            if self._plain or not self._left_out(paths.join(directory, entry.name), entry):
                try:
                    yield entry.name, entry.stat(follow_symlinks=False)
                except OSError as error:
                    if error.errno not in _GONE:
                        raise

    def _recall(self, directory: str, found: Mapping[str, os.stat_result]) -> None:
        """Note the states of files, and what the memory has of them, all at once."""
        keys = {
            name: _key(status) for name, status in found.items() if stat.S_ISREG(status.st_mode)
        }
        self._keys[directory] = keys
        self._known.update(self._memory.load(list(keys.values())))

    def _left_out(self, path: str, entry: "os.DirEntry[str]") -> bool:
        if not self._ignore.excludes(path):
            return False
        return not (entry.is_dir(follow_symlinks=False) and self._ignore.may_include_below(path))

    def _node(self, fd: int, directory: str, name: str, status: os.stat_result) -> Node | None:
        kind = kind_of(status)
        if kind is None:
            return None
        try:
            link = os.readlink(name, dir_fd=fd) if kind is Kind.SYMLINK else ""
            found = self._xattrs(fd, directory, name) if kind in _WITH_XATTRS else NO_XATTRS
        except OSError as error:
            if error.errno in (*_GONE, errno.EINVAL):  # went away, or is something else by now
                return None
            raise
        return node_of(status, kind, link=link, owner=(0, 0), xattrs=found)

    def _xattrs(self, fd: int, directory: str, name: str) -> Mapping[str, bytes]:
        key = self._keys[directory].get(name)
        known = self._known.get(key, "") if key else ""
        if known.endswith(PLAIN):
            return NO_XATTRS
        found = xattrs.read(inside(fd, name))
        if key and known and not found and self._settled(directory, key):
            self._known[key] = self._fresh[key] = known + PLAIN
        return found

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
