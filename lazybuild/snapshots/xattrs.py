"""Extended attributes that belong to an image, and file capabilities in their portable form.

Rules: `user.overlay.*` and the notes of other storage drivers are never image content, neither
read from a file system nor taken from an archive; `security.capability` is always revision 2, since
a revision 3 names a user namespace and means nothing elsewhere (linux/capability.h).
"""

import errno
import os
import struct
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from lazybuild.estargz.entry import NO_XATTRS

CAPABILITY = "security.capability"
_REVISION_2, _REVISION_3 = 0x02000000, 0x03000000
_REVISION_MASK = 0xFF000000
_V3_SIZE, _V2_SIZE = 24, 20
_FOREIGN = (
    "user.overlay.",
    "user.containers.",
    "user.fuseoverlayfs.",
    "user.rootlesscontainers",
    "user.lazybuild.",
)
_MISSING = (errno.ENODATA, errno.ENOTSUP, errno.ENOENT, errno.EPERM, errno.EACCES)


def belongs(name: str) -> bool:
    """Whether an attribute is part of an image: capabilities, and `user.*` of programs."""
    return name == CAPABILITY or (name.startswith("user.") and not name.startswith(_FOREIGN))


def portable(xattrs: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """The attributes of an entry from outside that may become part of an image."""
    kept = {name: _portable_value(name, value) for name, value in xattrs.items() if belongs(name)}
    return MappingProxyType(kept) if kept else NO_XATTRS


def _portable_value(name: str, value: bytes) -> bytes:
    return capability_v2(value) if name == CAPABILITY else value


def capability_v2(value: bytes) -> bytes:
    """A capability set without the namespace it was set in."""
    if len(value) != _V3_SIZE:
        return value
    (magic,) = struct.unpack_from("<I", value)
    if magic & _REVISION_MASK != _REVISION_3:
        return value
    return struct.pack("<I", magic & ~_REVISION_MASK | _REVISION_2) + value[4:_V2_SIZE]


def read(path: str, names: Iterable[str] | None = None) -> Mapping[str, bytes]:
    """The image attributes of a file, a link not followed; `names` are all it has, if known."""
    try:
        found = os.listxattr(path, follow_symlinks=False) if names is None else names
    except OSError as error:
        if error.errno not in _MISSING:
            raise
        return NO_XATTRS
    if not found:
        return NO_XATTRS
    return portable(_values(path, [name for name in found if belongs(name)]))


def listed(path: str) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in _MISSING:
            return []
        raise


def value(path: str, name: str) -> bytes | None:
    """One attribute, None where it, or every attribute, is missing."""
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno in _MISSING:
            return None
        raise


def _values(path: str, names: Iterable[str]) -> dict[str, bytes]:
    return {name: found for name in names if (found := value(path, name)) is not None}
