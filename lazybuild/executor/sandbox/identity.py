"""Whom a process takes itself for where there is a single id: the rules of setuid(2) and its kin.

An identity is (uids, gids, groups); uids and gids are (real, effective, saved, of files). Pure.
"""

import errno
import os

UNCHANGED = 0xFFFFFFFF
MAX_GROUPS = 65536
REAL, EFFECTIVE, SAVED, FILES = range(4)

TYPE_CHECKING = False
if TYPE_CHECKING:
    Ids = tuple[int, int, int, int]
    Identity = tuple[Ids, Ids, tuple[int, ...]]


def starting(uid: int, gid: int, groups: "list[int]") -> "Identity":
    return (uid, uid, uid, uid), (gid, gid, gid, gid), tuple(sorted(groups))


def changed(who: "Identity", call: str, args: "list[int]") -> "tuple[Identity, int]":
    """The identity after a call of the set*id family, and what the call returns. Raises EPERM.

    `args` begins with what the call takes, three words for a setres*id.
    """
    uids, gids, groups = who
    powerful = not uids[EFFECTIVE]
    if call in ("setgid", "setregid", "setresgid", "setfsgid"):
        found, value = _changed(gids, call.replace("gid", "uid"), args, powerful=powerful)
        return (uids, found, groups), value
    found, value = _changed(uids, call, args, powerful=powerful)
    return (found, gids, groups), value


def with_groups(who: "Identity", groups: "tuple[int, ...]") -> "Identity":
    if who[0][EFFECTIVE]:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))
    return who[0], who[1], tuple(sorted(groups))


def _changed(ids: "Ids", call: str, args: "list[int]", *, powerful: bool) -> "tuple[Ids, int]":
    real, effective, saved, files = ids
    if call == "setfsuid":
        allowed = powerful or args[0] in ids
        return ((real, effective, saved, args[0]) if allowed else ids), files
    if call == "setuid":
        (wanted,) = args[:1]
        if powerful:
            return (wanted, wanted, wanted, wanted), 0
        _need(wanted, (real, saved))
        return (real, wanted, saved, wanted), 0
    if call == "setreuid":
        new_real, new = (_or(args[0], real), _or(args[1], effective))
        if not powerful:
            _need(new_real, (real, effective))
            _need(new, (real, effective, saved))
        keeps = args[0] == UNCHANGED and (args[1] == UNCHANGED or new == real)
        return (new_real, new, saved if keeps else new, new), 0
    wanted3 = [_or(value, known) for value, known in zip(args[:FILES], ids[:FILES], strict=True)]
    for value in () if powerful else wanted3:
        _need(value, (real, effective, saved))
    return (wanted3[0], wanted3[1], wanted3[2], wanted3[1]), 0


def _or(value: int, known: int) -> int:
    return known if value == UNCHANGED else value


def _need(value: int, allowed: "tuple[int, ...]") -> None:
    if value not in allowed:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def may_give(who: "Identity", before: "tuple[int, int]", after: "tuple[int, int]") -> bool:
    """Whether a chown is allowed: root may all, others give their files to groups of theirs."""
    uids, gids, groups = who
    if not uids[EFFECTIVE]:
        return True
    mine = before[0] == uids[FILES] == after[0]
    return mine and after[1] in (before[1], gids[EFFECTIVE], *groups)
