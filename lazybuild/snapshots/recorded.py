"""Owners that a file system can't hold because this user has a single id: noted in attributes.

Overlay copies attributes up with a file, so that an owner stays when a file of a lower layer is
changed. The notes (`linux.ownernotes` has their form) count only where there is a single id;
elsewhere a step could forge them. An edge.
"""

import errno
import os
import stat
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from lazybuild.linux import ownernotes
from lazybuild.linux.ownernotes import LINKS, OWNER, ROOT, Links, Owner
from lazybuild.snapshots import xattrs

ORIGIN = "user.overlay.origin"


def owner_of(path: str) -> Owner | None:
    return ownernotes.parse(xattrs.value(path, OWNER))


def links_of(directory: str) -> Links:
    return ownernotes.parse_links(xattrs.value(directory, LINKS))


def note(file: int | str, owner: Owner) -> None:
    """Root needs no note, but may have to take one away."""
    if owner != ROOT:
        os.setxattr(file, OWNER, ownernotes.encode(owner))
        return
    try:
        os.removexattr(file, OWNER)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise


def note_links(directory: str, owners: Links) -> None:
    """Whose the links and pipes with these names are."""
    known = links_of(directory)
    wanted = {name: owner for name, owner in owners.items() if known.get(name, ROOT) != owner}
    if wanted:
        os.setxattr(directory, LINKS, ownernotes.encode_links(known | wanted))


def note_all_new(upper: Path, owner: Owner) -> None:
    """Give what a step made without a note to the user that the step ran as, or to the group that
    the directory hands on.

    What was copied up from a lower layer has overlay's note of where it came from.
    """
    waiting = [os.fspath(upper)]
    while waiting:
        directory = waiting.pop()
        known, links = links_of(directory), []
        mine = _handed_on(directory, owner)
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    _note_new(entry.path, mine)
                elif entry.is_file(follow_symlinks=False):
                    _note_new(entry.path, mine)
                elif os.fsencode(entry.name) not in known:
                    links.append(os.fsencode(entry.name))
        note_links(directory, dict.fromkeys(links, mine))


def _handed_on(directory: str, owner: Owner) -> Owner:
    """The owner of what is made in a directory: with its set-group-ID bit, its own group."""
    if not os.stat(directory).st_mode & stat.S_ISGID:
        return owner
    return owner[0], (owner_of(directory) or ROOT)[1]


def note_these(root: Path, names: Iterable[str], owner: Owner) -> None:
    """The same for what is known to be new below `root`."""
    links: defaultdict[str, list[bytes]] = defaultdict(list)
    for name in names:
        path = os.path.join(root, name)
        mode = os.lstat(path).st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            _note_new(path, _handed_on(os.path.dirname(path), owner))
        else:
            links[os.path.dirname(path)].append(os.fsencode(os.path.basename(path)))
    for directory, made in links.items():
        known = links_of(directory)
        note_links(directory, dict.fromkeys((it for it in made if it not in known), owner))


def _note_new(path: str, owner: Owner) -> None:
    if xattrs.value(path, ORIGIN) is None and xattrs.value(path, OWNER) is None:
        os.setxattr(path, OWNER, ownernotes.encode(owner))
