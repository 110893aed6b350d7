"""Who a step runs as: names of USER looked up in the rootfs, with the rules of Docker's runtime.

The rootfs is hostile: its files are opened inside it, must be regular and of bounded size.
`find` is pure over their text. Format: passwd(5), group(5).
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lazybuild.errors import BuildError
from lazybuild.linux import syscalls

MAX_FILE = 10 * 1024 * 1024
MAX_ID = 2**31 - 1  # the runtime's own bound
PASSWD_FIELDS, GROUP_FIELDS = 6, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def look_up(rootfs: Path, user: str) -> Identity:
    """The identity that `user` (name, number, user:group, or empty for root) has in a rootfs."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return find(user, _read(root, "etc/passwd"), _read(root, "etc/group"))
    finally:
        os.close(root)


def _read(root: int, path: str) -> str:
    try:
        place = syscalls.open_in_root(root, path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as failure:
        raise BuildError(f"/{path} of the image can't be opened: {failure.strerror}") from failure
    try:
        return _read_regular(place, path)
    finally:
        os.close(place)


def _read_regular(place: int, path: str) -> str:
    """Open for reading what was found to be a plain file, so that a FIFO can't block us."""
    if not stat.S_ISREG(os.fstat(place).st_mode):
        raise BuildError(f"/{path} of the image is not a regular file")
    with open(f"/proc/self/fd/{place}", "rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise BuildError(f"/{path} of the image is larger than {MAX_FILE >> 20} MiB")
    return data.decode(errors="surrogateescape")


def find(user: str, passwd: str, group: str) -> Identity:
    user_part, colon, group_part = user.partition(":")
    user_part = user_part or "0"
    account = _account(user_part, passwd)
    groups = list(_groups(group))
    if colon and group_part:
        gid = _gid(group_part, groups)
        return Identity(uid=account.uid, gid=gid, groups=(gid,), home=account.home)
    extra = [it.gid for it in groups if account.name and account.name in it.members]
    own = tuple(dict.fromkeys((account.gid, *extra)))
    return Identity(uid=account.uid, gid=account.gid, groups=own, home=account.home)


def _account(wanted: str, passwd: str) -> _Account:
    number = _number(wanted)
    for account in _accounts(passwd):
        if wanted == account.name or number == account.uid:
            return account
    if number is None:
        raise BuildError(f"unable to find user {wanted}: no matching entry in the image's passwd")
    return _Account(name="", uid=number, gid=0, home="/")


def _gid(wanted: str, groups: list[_Group]) -> int:
    number = _number(wanted)
    for group in groups:
        if wanted == group.name or number == group.gid:
            return group.gid
    if number is None:
        raise BuildError(f"unable to find group {wanted}: no matching entry in the image's group")
    return number


def _number(text: str) -> int | None:
    if not text.isascii() or not text.isdigit():
        return None
    if len(text) > len(str(MAX_ID)) or int(text) > MAX_ID:
        raise BuildError(f"id {text} is out of range: ids go from 0 to {MAX_ID}")
    return int(text)


def _accounts(text: str) -> Iterator[_Account]:
    for fields in _lines(text, PASSWD_FIELDS):
        uid, gid = _plain(fields[2]), _plain(fields[3])
        if uid is not None and gid is not None:
            yield _Account(name=fields[0], uid=uid, gid=gid, home=fields[5] or "/")


def _groups(text: str) -> Iterator[_Group]:
    for fields in _lines(text, GROUP_FIELDS):
        gid = _plain(fields[2])
        if gid is not None:
            yield _Group(name=fields[0], gid=gid, members=tuple(fields[3].split(",")))


def _plain(text: str) -> int | None:
    """An id in a file; a line with one that can't be is as good as absent."""
    usable = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ID))
    return int(text) if usable and int(text) <= MAX_ID else None


def _lines(text: str, fields: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        parts = line.strip().split(":")
        if len(parts) >= fields and parts[0]:
            yield parts
