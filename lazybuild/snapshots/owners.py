"""Users and groups by name, looked up in the /etc/passwd and /etc/group of a tree. An engine.

The files are an image's and may be anything: links are followed only inside the tree, only a
regular file of at most 10 MiB is read, and lines that make no sense are skipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lazybuild.errors import BuildError
from lazybuild.estargz.entry import Kind
from lazybuild.llb.ops import Owner, User
from lazybuild.snapshots.tree import Tree, resolve

MAX_SIZE = 10 << 20
MAX_ID = 2**32 - 2
_PASSWD, _GROUP = "etc/passwd", "etc/group"
_USER_FIELDS, _GROUP_FIELDS = 4, 3


@dataclass(frozen=True, slots=True)
class Ids:
    uid: int
    gid: int


def ids_of(owner: Owner, user_tree: Tree, group_tree: Tree) -> Ids:
    """The numbers that `owner` means: a user brings a group along unless one is named."""
    ids = _user(owner.user, user_tree) if owner.user is not None else Ids(0, 0)
    if owner.group is not None:
        ids = Ids(ids.uid, _group(owner.group, group_tree))
    return ids


def _user(user: User, tree: Tree) -> Ids:
    if not user.name:
        return Ids(_checked(user.id), _checked(user.id))
    for fields in _lines(tree, _PASSWD):
        if fields[0] == user.name and len(fields) >= _USER_FIELDS:
            return Ids(_number(fields[2], user.name), _number(fields[3], user.name))
    raise BuildError(f"unable to find user {user.name}: no matching entries in /{_PASSWD}")


def _group(group: User, tree: Tree) -> int:
    if not group.name:
        return _checked(group.id)
    for fields in _lines(tree, _GROUP):
        if fields[0] == group.name and len(fields) >= _GROUP_FIELDS:
            return _number(fields[2], group.name)
    raise BuildError(f"unable to find group {group.name}: no matching entries in /{_GROUP}")


def _lines(tree: Tree, path: str) -> Iterator[list[str]]:
    for line in read_small(tree, path).decode("utf-8", "surrogateescape").splitlines():
        if line and not line.startswith("#"):
            yield line.strip().split(":")


def read_small(tree: Tree, path: str) -> bytes:
    """The bytes of a regular file of at most 10 MiB; b"" if there is no such name."""
    found = resolve(tree, path)
    node = tree.lookup(found)
    if node is None:
        return b""
    if node.kind is not Kind.REG or node.size > MAX_SIZE:
        raise BuildError(f"/{path}: not a regular file of at most {MAX_SIZE >> 20} MiB")
    with tree.open(found) as stream:
        return stream.read(MAX_SIZE)


def _number(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise BuildError(f"{name}: {text!r} in /etc is not a user or group number")
    return _checked(int(text))


def _checked(number: int) -> int:
    if not 0 <= number <= MAX_ID:
        raise BuildError(f"{number} is not a user or group number")
    return number
