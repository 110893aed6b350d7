"""Sparse files in tar archives: old GNU headers and PAX formats 0.0, 0.1 and 1.0.

A map lists where the stored bytes go; the rest are zeros. Every number is checked before use.
Format: GNU tar manual, "Sparse Formats".
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from lazybuild.errors import IntegrityError
from lazybuild.estargz import names
from lazybuild.estargz.tarwrite import BLOCK

MAX_SIZE = 1 << 36
_MAX_REGIONS = 1 << 17
_DIGITS = 20

_Take = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Holes:
    """`regions` are (offset, length) of stored bytes in a file of `size` bytes.

    `used` bytes of the entry's stored size were the map itself.
    """

    size: int
    regions: Sequence[tuple[int, int]]
    used: int = 0

    def check(self, name: str, stored: int) -> None:
        """Regions ascend, stay in the file and need exactly the stored bytes."""
        position = total = 0
        for offset, length in self.regions:
            if offset < position or length < 0:
                raise IntegrityError(f"sparse map overlaps itself: {names.shown(name)}")
            position = offset + length
            total += length
        if position > self.size or total != stored or not 0 <= self.size <= MAX_SIZE:
            raise IntegrityError(f"sparse map does not fit its file: {names.shown(name)}")

    def expand(self, stored: BinaryIO, size: int) -> BinaryIO:
        return _Expanded(stored, self.regions, size)


class _Expanded(io.BufferedIOBase, BinaryIO):
    """The file with its holes filled."""

    def __init__(self, stored: BinaryIO, regions: Sequence[tuple[int, int]], size: int) -> None:
        self._stored = stored
        self._regions = [region for region in reversed(regions) if region[1]]
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        left = self._size - self._at
        wanted = left if size is None or size < 0 else min(size, left)
        parts: list[bytes] = []
        while wanted:
            part = self._part(wanted)
            parts.append(part)
            self._at += len(part)
            wanted -= len(part)
        return b"".join(parts)

    read1 = read

    def _part(self, wanted: int) -> bytes:
        if not self._regions:
            return bytes(wanted)
        offset, length = self._regions[-1]
        if self._at < offset:
            return bytes(min(wanted, offset - self._at))
        part = self._stored.read(min(wanted, offset + length - self._at))
        if self._at + len(part) == offset + length:
            self._regions.pop()
        return part


def is_sparse(block: bytes, records: Mapping[str, bytes]) -> bool:
    return block[156:157] == b"S" or any(key.startswith("GNU.sparse.") for key in records)


def from_gnu(block: bytes, take: _Take) -> Holes:
    """Four pairs at 386, a flag at 482 for more blocks of 21 pairs, the real size at 483."""
    regions = _pairs(block[386:482])
    more = block[482]
    size = _octal(block[483:495])
    while more:
        extra = take(BLOCK)
        regions += _pairs(extra[:504])
        more = extra[504]
        if len(regions) > _MAX_REGIONS:
            raise IntegrityError("sparse map is too long")
    return Holes(size, regions)


def _pairs(fields: bytes) -> list[tuple[int, int]]:
    found = []
    for start in range(0, len(fields), 24):
        if not fields[start : start + 24].strip(b"\0 "):
            break
        found.append((_octal(fields[start : start + 12]), _octal(fields[start + 12 : start + 24])))
    return found


def _octal(field: bytes) -> int:
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b"\0 ")
    try:
        return int(digits, 8) if digits else 0
    except ValueError as error:
        raise IntegrityError("sparse map holds what is no number") from error


def from_pax(records: Mapping[str, bytes], take: _Take, stored: int) -> Holes:
    if "GNU.sparse.major" in records:
        size = _decimal(records.get("GNU.sparse.realsize", b""))
        regions, used = _leading_map(take, stored)
        return Holes(size, regions, used)
    size = _decimal(records.get("GNU.sparse.size", b""))
    text = records.get("GNU.sparse.map", b"")
    numbers = [_decimal(part) for part in text.split(b",")] if text else []
    return Holes(size, _paired(numbers))


def _leading_map(take: _Take, stored: int) -> tuple[list[tuple[int, int]], int]:
    """Format 1.0: decimal lines in front of the payload, padded to whole blocks."""
    lines: list[bytes] = []
    used, rest = 0, b""
    while not lines or len(lines) < 1 + 2 * _count(lines[0]):
        if used + BLOCK > stored or len(rest) > _DIGITS:
            raise IntegrityError("sparse map is longer than its entry")
        *more, rest = (rest + take(BLOCK)).split(b"\n")
        lines += more
        used += BLOCK
    return _paired([_decimal(line) for line in lines[1 : 1 + 2 * _count(lines[0])]]), used


def _count(text: bytes) -> int:
    count = _decimal(text)
    if count > _MAX_REGIONS:
        raise IntegrityError("sparse map is too long")
    return count


def _paired(numbers: Sequence[int]) -> list[tuple[int, int]]:
    if len(numbers) % 2 or len(numbers) > 2 * _MAX_REGIONS:
        raise IntegrityError("sparse map is malformed")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > _DIGITS:
        raise IntegrityError("sparse map holds what is no number")
    return int(text)
