"""Names and extended attributes of layer entries: the one place that judges them.

Both views of a layer, the tar stream and the TOC, pass through here, so that they agree.
A cleaned name is what `entry.Entry` promises. Pure; every byte is hostile.
"""

from collections.abc import Mapping

from lazybuild.errors import IntegrityError
from lazybuild.estargz.entry import NO_XATTRS

PREFETCH_LANDMARK = ".prefetch.landmark"
NO_PREFETCH_LANDMARK = ".no.prefetch.landmark"
TOC_NAME = "stargz.index.json"
OWN_NAMES = frozenset((PREFETCH_LANDMARK, NO_PREFETCH_LANDMARK, TOC_NAME))

EMPTY_DIGEST = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
MAX_ID = 2**32 - 2
MAX_LINKS = 16
"""Hard links that may lead to a hard link, one after another."""
MAX_SECONDS = 8**11 - 1
"""The last second eleven octal digits can hold; times are clamped to 0 .. this."""

_MAX_NAME = 4095
_MAX_PART = 255
_MAX_XATTR_NAME = 255
_MAX_XATTR_VALUE = 65536
_FOREIGN_XATTRS = (
    "trusted.overlay.",
    "user.overlay.",
    "security.ima",
    "security.evm",
    "user.containers.override_stat",
    "user.fuseoverlayfs.",
    "user.rootlesscontainers",
)


def shown(name: str) -> str:
    """A name fit for a message: one line, bounded, no control characters."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    quoted = text[:200].encode("unicode_escape").decode()
    return quoted + "..." if len(text) > len(quoted) else quoted


def clean(name: str) -> str:
    """The name below the layer's root; "" for the root. ".." and over-long names are refused."""
    if _is_clean(name):
        return name
    if "\0" in name:
        raise IntegrityError(f"name with a NUL byte: {shown(name)}")
    parts = [part for part in name.split("/") if part and part != "."]
    if ".." in parts:
        raise IntegrityError(f"name leaves the layer: {shown(name)}")
    cleaned = "/".join(parts)
    if len(cleaned) * 4 > _MAX_PART:
        _check_lengths(name, cleaned, parts)
    return cleaned


def _is_clean(name: str) -> bool:
    """True of most names, which need not be taken to pieces: layers may have a million of them."""
    return (
        len(name) * 4 <= _MAX_PART
        and "/." not in name
        and "//" not in name
        and "\0" not in name
        and not name.startswith((".", "/"))
        and not name.endswith("/")
    )


def _check_lengths(name: str, cleaned: str, parts: list[str]) -> None:
    if _length(cleaned) > _MAX_NAME or any(_length(part) > _MAX_PART for part in parts):
        raise IntegrityError(f"name too long: {shown(name)}")


def _length(name: str) -> int:
    return len(name.encode("utf-8", "surrogateescape"))


def check_target(name: str, target: str) -> str:
    """A symlink's target as it stands, if a kernel could hold it."""
    if not target or "\0" in target or _length(target) > _MAX_NAME:
        raise IntegrityError(f"symlink target that no kernel holds: {shown(name)}")
    return target


def check_id(name: str, number: int) -> int:
    """A uid or gid; -1 and what is beyond 32 bits are refused."""
    if not 0 <= number <= MAX_ID:
        raise IntegrityError(f"owner {number} out of range: {shown(name)}")
    return number


def clamp_seconds(seconds: int) -> int:
    return min(max(seconds, 0), MAX_SECONDS)


def sane_xattrs(name: str, xattrs: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Without those that overlayfs or another engine would interpret; sorted and bounded."""
    if not xattrs:
        return NO_XATTRS
    kept = {
        key: _plain_capability(xattrs[key]) if key == "security.capability" else xattrs[key]
        for key in sorted(xattrs)
        if not key.startswith(_FOREIGN_XATTRS)
    }
    for key, value in kept.items():
        if not key or "\0" in key or _length(key) > _MAX_XATTR_NAME:
            raise IntegrityError(f"extended attribute name that no kernel holds: {shown(name)}")
        if len(value) > _MAX_XATTR_VALUE:
            raise IntegrityError(f"extended attribute {shown(key)} too long: {shown(name)}")
    return kept


def _plain_capability(value: bytes) -> bytes:
    """vfs_cap_data of revision 3 (24 bytes, a root id at the end) becomes revision 2 (20 bytes)."""
    if len(value) == 24 and value[3] == 3:  # noqa: PLR2004  sizes and revision in capability.h
        return value[:3] + b"\x02" + value[4:20]
    return value
