"""Tar headers of layer entries: ustar, with PAX records only for what ustar can't hold.

The same entry always gives the same bytes. Times are whole seconds, because a TOC has no more.
Device numbers of files that are no devices stay NUL, which every reader takes for 0 and which
compresses better. Format: POSIX.1-2017, pax, "ustar Interchange Format". Pure.
"""

from collections.abc import Mapping
from functools import lru_cache
from zlib import adler32

from lazybuild.estargz.entry import Entry, Kind
from lazybuild.estargz.names import clamp_seconds

BLOCK = 512
END = bytes(2 * BLOCK)

_TYPES = {
    Kind.REG: b"0",
    Kind.HARDLINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.CHAR: b"3",
    Kind.BLOCK: b"4",
    Kind.DIR: b"5",
    Kind.FIFO: b"6",
}
_DEVICES = (Kind.CHAR, Kind.BLOCK)
_NAME, _PREFIX, _OWNER = 100, 155, 32
_MAX_ID, _MAX_SIZE = 8**7 - 1, 8**11 - 1


def padding(size: int) -> bytes:
    """What follows `size` bytes of payload."""
    return bytes(-size % BLOCK)


def header(entry: Entry) -> bytes:
    """Every block that stands before the payload of this entry."""
    name = _encoded(stored_name(entry))
    link = _encoded(entry.link)
    records: dict[str, bytes] = {}
    prefix, short = _split(name)
    if short is None:
        records["path"] = name
        prefix, short = b"", _ascii(name)[:_NAME]
    if len(link) > _NAME or not link.isascii():
        records["linkpath"] = link
        link = _ascii(link)[:_NAME]
    _add_records(entry, records)
    block = _block(entry, prefix, short, link)
    return _pax(records) + block if records else block


def stored_name(entry: Entry) -> str:
    """As archives and TOCs have it: directories end with a slash, the root is "./"."""
    return (entry.name or ".") + "/" if entry.kind is Kind.DIR else entry.name


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _ascii(name: bytes) -> bytes:
    if name.isascii():
        return name
    return bytes(byte if byte < 0x80 else 0x5F for byte in name)  # noqa: PLR2004  ASCII ends


def _split(name: bytes) -> tuple[bytes, bytes | None]:
    """Prefix and name fields, or None if they can't hold it."""
    if not name.isascii():
        return b"", None
    if len(name) <= _NAME:
        return b"", name
    cut = name.rfind(b"/", 0, min(_PREFIX + 1, len(name) - 1))
    if cut <= 0 or len(name) - cut - 1 > _NAME:
        return b"", None
    return name[:cut], name[cut + 1 :]


def _add_records(entry: Entry, records: dict[str, bytes]) -> None:
    if entry.size > _MAX_SIZE:
        records["size"] = b"%d" % entry.size
    if entry.uid > _MAX_ID:
        records["uid"] = b"%d" % entry.uid
    if entry.gid > _MAX_ID:
        records["gid"] = b"%d" % entry.gid
    for key in sorted(entry.xattrs):
        records["SCHILY.xattr." + key] = entry.xattrs[key]


def _pax(records: Mapping[str, bytes]) -> bytes:
    body = b"".join(_record(_encoded(key), value) for key, value in sorted(records.items()))
    head = _fields(b"PaxHeader", 0o644, 0, 0, len(body), 0, b"x", b"", b"", b"", b"", b"")
    return head + body + padding(len(body))


def _record(key: bytes, value: bytes) -> bytes:
    """One "LENGTH KEY=VALUE" line, where LENGTH counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) != len(str(rest)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _block(entry: Entry, prefix: bytes, name: bytes, link: bytes) -> bytes:
    device = b""
    if entry.kind in _DEVICES:
        device = b"%07o\0%07o\0" % (entry.major, entry.minor)
    return _fields(
        name,
        entry.mode,
        entry.uid if entry.uid <= _MAX_ID else 0,
        entry.gid if entry.gid <= _MAX_ID else 0,
        entry.size if entry.size <= _MAX_SIZE else 0,
        clamp_seconds(entry.mtime // 1_000_000_000),
        _TYPES[entry.kind],
        link,
        _ascii(_encoded(entry.uname))[: _OWNER - 1],
        _ascii(_encoded(entry.gname))[: _OWNER - 1],
        device,
        prefix,
    )


def _fields(  # noqa: PLR0917  the fields in the order they stand in
    name: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    kind: bytes,
    link: bytes,
    uname: bytes,
    gname: bytes,
    device: bytes,
    prefix: bytes,
) -> bytes:
    """The 512 bytes; the checksum at 148 is summed with spaces in its place."""
    tail, total = _tail(kind, link, uname, gname, device, prefix)
    head = b"%s%s%011o\0%011o\0" % (name.ljust(_NAME, b"\0"), _owner(mode, uid, gid), size, mtime)
    return b"%s%06o\0 %s" % (head, _sum(head) + total + 8 * 0x20, tail)


@lru_cache(maxsize=256)
def _owner(mode: int, uid: int, gid: int) -> bytes:
    return b"%07o\0%07o\0%07o\0" % (mode, uid, gid)


@lru_cache(maxsize=256)
def _tail(  # noqa: PLR0917  as above
    kind: bytes, link: bytes, uname: bytes, gname: bytes, device: bytes, prefix: bytes
) -> tuple[bytes, int]:
    """What follows the checksum, the same for most files, and the sum of it."""
    tail = b"%s%sustar\x0000%s%s%s%s" % (
        kind,
        link.ljust(_NAME, b"\0"),
        uname.ljust(_OWNER, b"\0"),
        gname.ljust(_OWNER, b"\0"),
        device.ljust(16, b"\0"),
        prefix.ljust(_PREFIX + 12, b"\0"),
    )
    return tail, _sum(tail)


def _sum(data: bytes) -> int:
    """Of ASCII, that of 512 bytes is below 65521: adler32 has it, plus one, in its lower half."""
    return adler32(data) - 1 & 0xFFFF
