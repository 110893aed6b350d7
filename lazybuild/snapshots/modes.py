"""Symbolic file modes as `chmod` of POSIX reads them: `u=rwX,go=rX`, `+x`, `g=u`. Pure.

As in the reference, an empty "who" means all, with no regard to a umask.
"""

import re

from lazybuild.errors import BuildError

_CLAUSE = re.compile(r"(?P<who>[ugoa]*)(?P<actions>(?:[-+=](?:[rwxXst]*|[ugo]))+)\Z")
_ACTION = re.compile(r"([-+=])([ugo](?![rwxXst])|[rwxXst]*)")
_SHIFT = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}
_SETUID, _SETGID, _STICKY = 0o4000, 0o2000, 0o1000


def change(mode: int, text: str, *, directory: bool) -> int:
    """`mode` after the clauses of `text`."""
    for clause in text.split(","):
        found = _CLAUSE.match(clause)
        if found is None:
            raise BuildError(f"invalid mode: {text!r}")
        who = found["who"].replace("a", "ugo") or "ugo"
        for operator, permissions in _ACTION.findall(found["actions"]):
            bits = _bits(mode, who, permissions, directory=directory)
            mode = _apply(mode, who, operator, bits)
    return mode


def _bits(mode: int, who: str, permissions: str, *, directory: bool) -> int:
    if permissions in _SHIFT:
        return _spread(mode >> _SHIFT[permissions] & 7, who)
    bits = _spread(sum(_BITS[char] for char in set(permissions) & _BITS.keys()), who)
    if "X" in permissions and (directory or mode & 0o111):
        bits |= _spread(1, who)
    if "s" in permissions:
        bits |= (_SETUID if "u" in who else 0) | (_SETGID if "g" in who else 0)
    return bits | (_STICKY if "t" in permissions else 0)


def _apply(mode: int, who: str, operator: str, bits: int) -> int:
    if operator == "+":
        return mode | bits
    if operator == "-":
        return mode & ~bits
    cleared = _spread(7, who) | (_SETUID if "u" in who else 0) | (_SETGID if "g" in who else 0)
    return mode & ~cleared | bits


def _spread(bits: int, who: str) -> int:
    return sum(bits << _SHIFT[char] for char in set(who))
