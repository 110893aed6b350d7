"""Files of a result for a frontend: anchored in its root, links followed there, sizes bounded."""

from collections.abc import Iterator

from lazybuild.errors import BuildError
from lazybuild.estargz.entry import Kind
from lazybuild.llb.patterns import go_match
from lazybuild.snapshots import paths
from lazybuild.snapshots.described import described
from lazybuild.snapshots.tree import Node, Tree, resolve
from lazybuild.wire.asked import MissingError
from lazybuild.wire.filesync import SentFile

MAX_FILE = (16 << 20) - (64 << 10)
"""What fits into one message."""

MAX_PATH = 4096
MAX_NAMES = 50_000


def read(tree: Tree, path: str, *, offset: int, length: int | None) -> bytes:
    """A file, or a part of it; what lies beyond its end is left out."""
    name, node = _found(tree, path)
    if node.kind is not Kind.REG:
        raise BuildError(f"{path} is not a regular file")
    if offset < 0 or (length is not None and length < 0):
        raise BuildError(f"{path}: a range that begins or ends before the file")
    wanted = max(0, node.size - offset)
    if length is not None:
        wanted = min(wanted, length)
    if wanted > MAX_FILE:
        raise BuildError(f"{path}: {wanted} bytes are more than {MAX_FILE} at a time")
    if not wanted:
        return b""
    with tree.open(name) as file:
        file.seek(offset)
        return file.read(wanted)


def names(tree: Tree, path: str, pattern: str) -> Iterator[SentFile]:
    """What is in a directory, by name."""
    if len(pattern) > MAX_PATH:
        raise BuildError("a pattern is too long")
    folder, node = _found(tree, path)
    if node.kind is not Kind.DIR:
        raise BuildError(f"{path} is not a directory")
    wanted = [name for name in tree.children(folder) if not pattern or go_match(pattern, name)]
    if len(wanted) > MAX_NAMES:
        raise BuildError(f"{path} holds more than {MAX_NAMES} names")
    for name in wanted:
        inner = tree.lookup(paths.join(folder, name))
        if inner is not None:
            yield described(_shown(name), inner)


def status(tree: Tree, path: str) -> SentFile:
    name, node = _found(tree, path)
    return described(_shown(name.rpartition("/")[2]), node)


def _found(tree: Tree, path: str) -> tuple[str, Node]:
    if len(path) > MAX_PATH or "\0" in path:
        raise BuildError("a path is too long, or has a NUL in it")
    name = resolve(tree, path)
    node = tree.lookup(name)
    if node is None:
        raise MissingError(f"{path}: no such file or directory")
    return name, node


def _shown(name: str) -> str:
    """Protobuf takes UTF-8 only."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
