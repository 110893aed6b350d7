"""Names that callers are about to make or to move, so that new files get their owner.

The kernel makes them; what came of it is looked at when the caller calls again or anybody else
does, and at the end. Paths are relative to directories that are held open, below the caller's root.
"""

import errno
import os
import stat

from lazybuild.linux import ownernotes
from lazybuild.linux.ownernotes import ALL_OTHERS, LINKS, OWNER, ROOT

MOST = 128  # directories that are held open
KEPT_AS_THEY_ARE = (errno.EOPNOTSUPP, errno.ENOSYS)  # places that are no part of the image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazybuild.linux.ownernotes import Owner


class Made:
    """A name that is new in a directory, and whose it will be."""

    def __init__(self, caller: int, directory: int, name: bytes, owner: "Owner") -> None:
        self.caller, self._directory, self._name, self._owner = caller, directory, name, owner

    def settle(self) -> bool:
        mode = mode_of(self._directory, self._name)
        if not mode:
            return False
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            place = below(self._directory, self._name)
            if value(place, OWNER) is None:
                write(place, OWNER, ownernotes.encode(self._owner))
        else:
            note_link(self._directory, self._name, self._owner)
        return True

    def close(self) -> None:
        os.close(self._directory)


class Moved:
    """A link or pipe whose name changes: its owner is noted under the name."""

    def __init__(
        self, caller: int, old: "tuple[int, bytes]", new: "tuple[int, bytes]", owner: "Owner"
    ) -> None:
        self.caller, self._old, self._new, self._owner = caller, old, new, owner

    def settle(self) -> bool:
        if mode_of(*self._old):
            return False
        note_link(*self._new, self._owner)
        note_link(*self._old, None)
        return True

    def close(self) -> None:
        os.close(self._old[0])
        os.close(self._new[0])


class Makings:
    """All that are under way."""

    def __init__(self) -> None:
        self._waiting: list[Made | Moved] = []

    def add(self, one: "Made | Moved") -> None:
        self._waiting.append(one)
        if len(self._waiting) > MOST:
            self._waiting.pop(0).close()

    def settle(self, caller: int) -> None:
        """`caller` has come back from whatever it called before."""
        if not self._waiting:
            return
        left = []
        for one in self._waiting:
            if one.settle() or one.caller == caller:
                one.close()
            else:
                left.append(one)
        self._waiting = left

    def settle_all(self) -> None:
        for one in self._waiting:
            one.settle()
            one.close()
        self._waiting = []


def below(directory: int, name: bytes) -> bytes:
    """A path from /proc, where the process stands; its last name is followed by nobody here."""
    return b"self/fd/%d/%s" % (directory, name)


def mode_of(directory: int, name: bytes) -> int:
    """The mode of what has this name, 0 if nothing has."""
    try:
        return os.lstat(below(directory, name)).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def links_of(directory: int) -> ownernotes.Links:
    return ownernotes.parse_links(value(below(directory, b"."), LINKS))


def note_link(directory: int, name: bytes, owner: "Owner | None") -> None:
    """Whose a link or pipe is; with None nothing has this name any more."""
    links = links_of(directory)
    before = dict(links)
    if owner is None or (owner == ROOT and ALL_OTHERS not in links):
        links.pop(name, None)
    else:
        links[name] = owner
    if links != before:
        write(below(directory, b"."), LINKS, ownernotes.encode_links(links))


def value(place: bytes, key: str) -> bytes | None:
    try:
        return os.getxattr(place, key, follow_symlinks=False)
    except OSError:  # none, or a place that can't have any
        return None


def write(place: bytes, key: str, text: bytes) -> None:
    try:
        os.setxattr(place, key, text, follow_symlinks=False)
    except OSError as failure:
        if failure.errno not in KEPT_AS_THEY_ARE:
            raise
