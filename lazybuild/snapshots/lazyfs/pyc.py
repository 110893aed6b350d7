"""Guesses from a compiled Python module which modules of the same layer it imports. Pure.

The file is not unmarshalled, since it is hostile: names in it look like interned short strings
(marshal's type "Z" with or without the reference flag, one byte of length, ASCII), and a name that
is also a module beside the file or below the standard library's folder is taken for an import.
Source: CPython 3.11 to 3.13, Python/marshal.c.
"""

import re
from collections.abc import Iterator

from lazybuild.snapshots.lazyfs.tree import Tree

SUFFIX = b".pyc"
SIZE_MAX = 256 << 10
_NAMES_MAX = 512
_SHARE = 16
_INTERNED = re.compile(rb"[\xda\x5a]([\x02-\x40])([A-Za-z_][A-Za-z0-9_.]{1,63})", re.DOTALL)
_CACHE = b"__pycache__"


def imports(tree: Tree, ino: int, data: bytes, budget: int) -> Iterator[int]:
    """Inodes of modules that the module `ino` seems to import, none larger than its share."""
    parts = tree.path(ino).split(b"/")
    tag = parts[-1].partition(b".")[2]
    if len(parts) < 3 or parts[-2] != _CACHE:  # noqa: PLR2004  folder/__pycache__/name.tag.pyc
        return
    for name in _names(data):
        for folder in _folders(parts):
            found = module(tree, folder, name, tag)
            if found:
                yield from (f for f in found if tree.size(f) <= max(budget // _SHARE, 1 << 16))
                break


def _names(data: bytes) -> list[bytes]:
    found: dict[bytes, None] = {}
    for match in _INTERNED.finditer(data):
        name = match[2][: match[1][0]]
        if len(name) == match[1][0] and len(found) < _NAMES_MAX:
            found.setdefault(name)
    return list(found)


def _folders(parts: list[bytes]) -> Iterator[bytes]:
    """Where the module may look: its own folder and those above it, up to the library's."""
    for depth in range(len(parts) - 2, 1, -1):
        yield b"/".join(parts[:depth])
        if parts[depth - 1].startswith(b"python"):
            yield b"/".join([*parts[:depth], b"lib-dynload"])
            return


def module(tree: Tree, folder: bytes, name: bytes, tag: bytes) -> list[int]:
    """The compiled module (or shared object in lib-dynload) of this name in a folder."""
    path = folder + b"/" + name.replace(b".", b"/")
    head, _, last = path.rpartition(b"/")
    package = tree.find(path + b"/" + _CACHE + b"/__init__." + tag)
    found = package or tree.find(head + b"/" + _CACHE + b"/" + last + b"." + tag)
    if found:
        return [found]
    where = tree.find(folder) if folder.endswith(b"lib-dynload") else 0
    if not where:
        return []
    start = tree.position(where, name + b".")
    return [
        ino
        for _, found, ino in _first(tree.children(where, start))
        if found.startswith(name + b".") and found.endswith(b".so")
    ]


def _first(children: Iterator[tuple[int, bytes, int]]) -> Iterator[tuple[int, bytes, int]]:
    for child in children:
        yield child
        return
