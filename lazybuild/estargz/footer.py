"""The last bytes of a lazily readable blob: where its TOC stands. Pure.

    eStargz          51  1f8b08 04 00000000 00ff  1a00 "SG" 1600 %016x "STARGZ"  01 0000ffff  8 x 00
    legacy stargz    47  1f8b08 04 00000000 00ff  1600          %016x "STARGZ"  01 0000ffff  8 x 00
    external TOC     46  1f8b08 04 00000000 00ff  1500 "SG" 1100 "STARGZEXTERNALTOC" and the same
    zstd:chunked     40  LE64 x 4: TOC offset, packed size, raw size, 1; then "GnUlInUx"
    podman's         64  LE64 x 7: the same, then tar-split offset, packed, raw; then "GNUlInUx"

The first three are empty gzip members, the others the payload of a skippable zstd frame (eight
bytes of head). They are constant bytes: no library is asked for an empty member.
"""

import struct
from dataclasses import dataclass
from enum import StrEnum

_GZIP = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff"
_EMPTY = b"\x01\0\0\xff\xff" + bytes(8)
_ESTARGZ = _GZIP + b"\x1a\0SG\x16\0"
_LEGACY = _GZIP + b"\x16\0"
_EXTERNAL = _GZIP + b"\x15\0SG\x11\0STARGZEXTERNALTOC" + _EMPTY
_MAGIC = b"STARGZ"
_SKIPPABLE = b"\x50\x2a\x4d\x18"
_ZSTD_MAGIC = b"GnUlInUx"
_PODMAN_MAGIC = b"GNUlInUx"
_OFFSET_DIGITS = 16
_MANIFEST_TYPE = 1

EXTERNAL_SIZE = 46
LONGEST = 72


class Layout(StrEnum):
    """How a blob holds its TOC."""

    ESTARGZ = "estargz"
    LEGACY = "stargz"
    EXTERNAL = "external-toc"
    ZSTD = "zstd:chunked"
    PODMAN = "zstd:chunked:podman"


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """`toc_offset` is where the TOC's gzip member, or its packed JSON, begins.

    `toc_size` is the packed and `toc_raw_size` the unpacked length where the footer knows it.
    """

    layout: Layout
    toc_offset: int
    toc_size: int = 0
    toc_raw_size: int = 0


def estargz(toc_offset: int) -> bytes:
    return _ESTARGZ + b"%016x" % toc_offset + _MAGIC + _EMPTY


def skippable(payload: bytes) -> bytes:
    """A zstd frame that decompressors pass over."""
    return _SKIPPABLE + struct.pack("<I", len(payload)) + payload


def zstd_chunked(toc_offset: int, toc_size: int, toc_raw_size: int) -> bytes:
    numbers = struct.pack("<4Q", toc_offset, toc_size, toc_raw_size, _MANIFEST_TYPE)
    return skippable(numbers + _ZSTD_MAGIC)


def podman(toc: tuple[int, int, int], tar_split: tuple[int, int, int]) -> bytes:
    """Each triple is offset, packed size, raw size."""
    return skippable(struct.pack("<7Q", *toc, _MANIFEST_TYPE, *tar_split) + _PODMAN_MAGIC)


def parse(tail: bytes, blob_size: int) -> Footer | None:
    """Read the end of a blob; None if it is no footer or points outside of the blob."""
    found = _gzip_footer(tail) or _zstd_footer(tail)
    if found is None or found.layout is Layout.EXTERNAL:
        return found
    end = found.toc_offset + max(found.toc_size, 1)
    return found if end <= blob_size - _size_of(found.layout) else None


def _size_of(layout: Layout) -> int:
    return {Layout.ESTARGZ: 51, Layout.LEGACY: 47, Layout.ZSTD: 48, Layout.PODMAN: 72}[layout]


def _gzip_footer(tail: bytes) -> Footer | None:
    if tail.endswith(_EXTERNAL):
        return Footer(layout=Layout.EXTERNAL, toc_offset=0)
    for head, layout in ((_ESTARGZ, Layout.ESTARGZ), (_LEGACY, Layout.LEGACY)):
        last = tail[-_size_of(layout) :]
        if last.startswith(head) and last.endswith(_MAGIC + _EMPTY):
            digits = last[len(head) : len(head) + _OFFSET_DIGITS]
            return _at(layout, digits)
    return None


def _at(layout: Layout, digits: bytes) -> Footer | None:
    if any(digit not in b"0123456789abcdefABCDEF" for digit in digits):
        return None
    return Footer(layout=layout, toc_offset=int(digits, 16))


def _zstd_footer(tail: bytes) -> Footer | None:
    for layout, magic, count in (
        (Layout.ZSTD, _ZSTD_MAGIC, 4),
        (Layout.PODMAN, _PODMAN_MAGIC, 7),
    ):
        frame = tail[-_size_of(layout) :]
        if len(frame) == _size_of(layout) and frame.endswith(magic) and frame[:4] == _SKIPPABLE:
            offset, packed, raw, kind = struct.unpack_from("<4Q", frame, 8)
            if kind == _MANIFEST_TYPE and count:
                return Footer(layout=layout, toc_offset=offset, toc_size=packed, toc_raw_size=raw)
    return None
