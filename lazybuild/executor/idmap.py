"""Who may use which ids: /etc/subuid, /etc/subgid, and the map of a user namespace.

Parsing is pure; `ranges_of` reads the two files. Knows nothing of namespaces.
Format: subuid(5), lines of `name-or-uid:first:count`.
"""

import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lazybuild.errors import HostError

MAX_FILE = 10 * 1024 * 1024
LAST_ID = 2**32 - 2


@dataclass(frozen=True, slots=True, kw_only=True)
class IdRange:
    """`count` ids from `inside` in the namespace are those from `outside` around it."""

    inside: int
    outside: int
    count: int


def parse(text: str, owners: Sequence[str]) -> list[tuple[int, int]]:
    """The ranges (first, count) of any of `owners`; lines that make no sense are not ours."""
    found = []
    for line in text.splitlines():
        owner, _, numbers = line.strip().partition(":")
        first, _, count = numbers.partition(":")
        if owner in owners and _is_id(first) and _is_id(count) and int(count) > 0:
            found.append((int(first), int(count)))
    return [it for it in found if it[0] + it[1] - 1 <= LAST_ID]


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10  # noqa: PLR2004 - digits of 2**32


def id_map(own: int, ranges: Sequence[tuple[int, int]]) -> tuple[IdRange, ...]:
    """`own` becomes 0, the ranges follow from 1."""
    result, inside = [IdRange(inside=0, outside=own, count=1)], 1
    for first, count in ranges:
        result.append(IdRange(inside=inside, outside=first, count=count))
        inside += count
    return tuple(result)


def owners(uid: int) -> tuple[str, ...]:
    """The names a line can carry for this user. A uid without a passwd entry has its number."""
    try:
        return (pwd.getpwuid(uid).pw_name, str(uid))
    except KeyError:
        return (str(uid),)


def has_range(uid: int, path: Path) -> bool:
    """Whether a line of `path` is for this user, even one that makes no sense."""
    names = owners(uid)
    return any(line.partition(":")[0].strip() in names for line in _read(path).splitlines())


def ranges_of(uid: int, path: Path) -> list[tuple[int, int]]:
    """The ranges of a user in `path`; a HostError says how to get some."""
    names = owners(uid)
    found = parse(_read(path), names)
    if not found:
        tool = "--add-subuids" if path.name == "subuid" else "--add-subgids"
        raise HostError(
            f"{path} has no range for {' or '.join(names)}, so a build has one user id only",
            hint=f"sudo usermod {tool} 100000-165535 {names[0]}",
        )
    return found


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE).decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as failure:
        raise HostError(f"cannot read {path}: {failure.strerror}") from failure
