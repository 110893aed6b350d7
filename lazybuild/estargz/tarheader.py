"""Headers of tar archives, byte for byte: ustar, PAX, GNU long names; every field is hostile.

Formats: POSIX.1-2017 pax; GNU tar manual, "Standard" and "Sparse Formats".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from lazybuild.errors import IntegrityError
from lazybuild.estargz import names
from lazybuild.estargz.entry import Entry, Kind
from lazybuild.estargz.sparse import Holes, from_gnu, from_pax, is_sparse
from lazybuild.estargz.tarwrite import BLOCK

MAX_EXTENSION = 1 << 20
"""Bytes of one PAX header or GNU long name, as Go's reader has it."""

_ZEROS = bytes(BLOCK)
_KINDS = {
    b"0": Kind.REG,
    b"\0": Kind.REG,
    b"7": Kind.REG,
    b"S": Kind.REG,
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHAR,
    b"4": Kind.BLOCK,
    b"5": Kind.DIR,
    b"6": Kind.FIFO,
}
_XATTR = "SCHILY.xattr."
_LENGTH_DIGITS = 7


class Source:
    """Exact reads from a stream that may give less than asked."""

    def __init__(self, stream: BinaryIO) -> None:
        self._read = stream.read

    def exactly(self, length: int, where: str) -> bytes:
        data = self._read(length)
        if len(data) == length:
            return data
        parts = [data]
        missing = length - len(data)
        while missing:
            data = self._read(missing)
            if not data:
                raise IntegrityError(f"archive ends early: {names.shown(where)}")
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def block(self) -> bytes | None:
        """The next header block, or None at an end without a marker."""
        data = self._read(BLOCK)
        if not data:
            return None
        if len(data) < BLOCK:
            data += self.exactly(BLOCK - len(data), "header")
        return data


@dataclass(slots=True)
class Raw:
    """A header block with what the extension headers before it say."""

    block: bytes
    records: Mapping[str, bytes]
    long_name: bytes | None
    long_link: bytes | None


def next_header(source: Source) -> Raw | None:
    records: dict[str, bytes] = {}
    long_name = long_link = None
    while True:
        block = source.block()
        if block is None or block == _ZEROS:
            _check_end(source, ended=block is None, pending=bool(records or long_name))
            return None
        _check_sum(block)
        kind = block[156:157]
        if kind == b"x":
            records = _pax_records(_extension(source, block))
        elif kind == b"g":
            _pax_records(_extension(source, block))
        elif kind == b"L":
            long_name = _extension(source, block).split(b"\0", 1)[0]
        elif kind == b"K":
            long_link = _extension(source, block).split(b"\0", 1)[0]
        else:
            return Raw(block, records, long_name, long_link)


def _check_end(source: Source, *, ended: bool, pending: bool) -> None:
    """The marker is two zero blocks, or the end of the stream after one or none."""
    if pending:
        raise IntegrityError("archive ends after an extension header")
    if not ended and source.block() not in (None, _ZEROS):
        raise IntegrityError("archive has a lone zero block")


def _check_sum(block: bytes) -> None:
    """Unsigned sum of all bytes with the field itself as spaces; old writers summed signed."""
    said = _number(block[148:156], "checksum")
    unsigned = sum(block) - sum(block[148:156]) + 8 * 0x20
    if said != unsigned:
        rest = block[:148] + block[156:]
        high = sum(1 for byte in rest if byte >= 0x80)  # noqa: PLR2004  sign bit
        if said != unsigned - 256 * high:
            raise IntegrityError("not a tar header: its checksum does not match")


def _number(field: bytes, what: str) -> int:
    """Octal, or base-256 when the first bit is set; may be negative only in base-256."""
    if field[:1] >= b"\x80":
        value = int.from_bytes(field, "big", signed=False) & ((1 << (8 * len(field) - 1)) - 1)
        if value >> (8 * len(field) - 2):
            value -= 1 << (8 * len(field) - 1)
        return value
    digits = field.strip(b" \0")
    if not digits:
        return 0
    try:
        return int(digits.split(b"\0", 1)[0], 8)
    except ValueError as error:
        raise IntegrityError(f"tar header with a {what} that is no number") from error


def _extension(source: Source, block: bytes) -> bytes:
    size = _number(block[124:136], "size")
    if not 0 <= size <= MAX_EXTENSION:
        raise IntegrityError(f"extension header of {size} bytes is too large")
    return source.exactly(size + -size % BLOCK, "extension header")[:size]


def _pax_records(data: bytes) -> dict[str, bytes]:
    """Lines "LENGTH KEY=VALUE"; an empty value takes the key back."""
    records: dict[str, bytes] = {}
    sparse: list[bytes] = []
    start = 0
    while start < len(data):
        start, key, value = _pax_record(data, start)
        if key in ("GNU.sparse.offset", "GNU.sparse.numbytes"):
            sparse.append(value)
        else:
            records[key] = value
    if sparse:
        records["GNU.sparse.map"] = b",".join(sparse)
    return {key: value for key, value in records.items() if value or key.startswith(_XATTR)}


def _pax_record(data: bytes, start: int) -> tuple[int, str, bytes]:
    """The record that begins there, and where the next one does."""
    space = data.find(b" ", start, start + _LENGTH_DIGITS + 1)
    text = data[start:space] if space > 0 else b""
    end = start + int(text) if text.isdigit() else 0
    key, equals, value = data[space + 1 : max(end - 1, 0)].partition(b"=")
    if not equals or not key or end > len(data) or data[end - 1 : end] != b"\n":
        raise IntegrityError("PAX header is malformed")
    return end, key.decode("utf-8", "surrogateescape"), value


def interpret(source: Source, raw: Raw) -> tuple[Entry, int, Holes | None]:
    """The entry, the bytes stored for it, and its holes."""
    block, records = raw.block, raw.records
    name = _name(raw)
    cleaned = names.clean(name)
    kind = _kind(block[156:157], name)
    stored = _pax_number(records, "size", block[124:136], cleaned)
    if not 0 <= stored < 1 << 62:
        raise IntegrityError(f"size {stored} out of range: {names.shown(cleaned)}")
    if kind is not Kind.REG:
        stored = 0
    holes: Holes | None = None
    if kind is Kind.REG and is_sparse(block, records):
        holes = _holes(source, block, records, stored, cleaned)
        stored -= holes.used
    size = holes.size if holes else stored
    return _entry(raw, cleaned, kind, size), stored, holes


def _holes(
    source: Source, block: bytes, records: Mapping[str, bytes], stored: int, name: str
) -> Holes:
    def take(length: int) -> bytes:
        return source.exactly(length, name)

    holes = from_gnu(block, take) if block[156:157] == b"S" else from_pax(records, take, stored)
    holes.check(name, stored - holes.used)
    return holes


def _kind(flag: bytes, name: str) -> Kind:
    kind = _KINDS.get(flag)
    if kind is None:
        raise IntegrityError(f"entry type {flag!r} is not supported: {names.shown(name)}")
    return Kind.DIR if flag == b"\0" and name.endswith("/") else kind


def _name(raw: Raw) -> str:
    found = raw.records.get("GNU.sparse.name") or raw.records.get("path") or raw.long_name
    if found is None:
        found = raw.block[:100].split(b"\0", 1)[0]
        if raw.block[257:263] == b"ustar\0":
            prefix = raw.block[345:500].split(b"\0", 1)[0]
            found = prefix + b"/" + found if prefix else found
    return found.decode("utf-8", "surrogateescape")


def _pax_number(records: Mapping[str, bytes], key: str, field: bytes, name: str) -> int:
    text = records.get(key)
    if text is None:
        return _number(field, key)
    if not text.isdigit() or len(text) > 19:  # noqa: PLR2004  digits of 2**63
        raise IntegrityError(f"PAX {key} is no number: {names.shown(name)}")
    return int(text)


def _entry(raw: Raw, name: str, kind: Kind, size: int) -> Entry:
    block, records = raw.block, raw.records
    if not name and kind is not Kind.DIR:
        raise IntegrityError("archive entry without a name")
    device = kind in (Kind.CHAR, Kind.BLOCK)
    return Entry(
        name=name,
        kind=kind,
        mode=_number(block[100:108], "mode") & 0o7777,
        uid=names.check_id(name, _pax_number(records, "uid", block[108:116], name)),
        gid=names.check_id(name, _pax_number(records, "gid", block[116:124], name)),
        uname=_owner(records.get("uname"), block[265:297]),
        gname=_owner(records.get("gname"), block[297:329]),
        size=size,
        mtime=_mtime(records, block),
        link=_link(raw, name, kind),
        major=_device(block[329:337], name) if device else 0,
        minor=_device(block[337:345], name) if device else 0,
        xattrs=_xattrs(name, records),
    )


def _owner(record: bytes | None, field: bytes) -> str:
    found = field.split(b"\0", 1)[0] if record is None else record
    return found.decode("utf-8", "replace")


def _link(raw: Raw, name: str, kind: Kind) -> str:
    if kind not in (Kind.SYMLINK, Kind.HARDLINK):
        return ""
    found = raw.records.get("linkpath") or raw.long_link or raw.block[157:257].split(b"\0", 1)[0]
    target = found.decode("utf-8", "surrogateescape")
    if kind is Kind.SYMLINK:
        return names.check_target(name, target)
    return names.clean(target)


def _device(field: bytes, name: str) -> int:
    number = _number(field, "device number")
    if not 0 <= number < 1 << 32:
        raise IntegrityError(f"device number out of range: {names.shown(name)}")
    return number


def _mtime(records: Mapping[str, bytes], block: bytes) -> int:
    """Whole seconds as nanoseconds, clamped to what every view of a layer can hold."""
    text = records.get("mtime")
    if text is None:
        return names.clamp_seconds(_number(block[136:148], "time")) * 1_000_000_000
    whole = text.partition(b".")[0]
    if not whole.removeprefix(b"-").isdigit() or len(whole) > 20:  # noqa: PLR2004  2**63
        raise IntegrityError("PAX mtime is no number")
    return names.clamp_seconds(int(whole)) * 1_000_000_000


def _xattrs(name: str, records: Mapping[str, bytes]) -> Mapping[str, bytes]:
    if not records:
        return names.sane_xattrs(name, records)
    found = {k[len(_XATTR) :]: v for k, v in records.items() if k.startswith(_XATTR)}
    return names.sane_xattrs(name, found)
