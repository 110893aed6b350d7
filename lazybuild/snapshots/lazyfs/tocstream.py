"""Reads a TOC of any length without ever holding all of it: inflated, hashed and cut on the way.

Owns the cutting of the JSON text into pieces that are arrays of entries. A cut is right if what
lies before it parses as an array: no prefix of a JSON value that ends inside of a string, an object
or a nested array becomes valid by a closing bracket. The digest is known at the end only; whoever
uses the entries must drop what was made of them when it is not the expected one.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import BinaryIO

from lazybuild.errors import IntegrityError
from lazybuild.estargz import names
from lazybuild.estargz.streams import Caps, decompress
from lazybuild.estargz.toc import MAX_TOC, TocEntry
from lazybuild.snapshots.lazyfs import messages

_TAR_BLOCK = 512
_PIECE = 256 << 10
_PIECE_MAX = 16 << 20
_TRIES = 64
_BEFORE = rb'\s*\{\s*(?:"version"\s*:\s*1\s*,\s*)?"entries"\s*:\s*'
_BEHIND = rb'\s*(?:,\s*"version"\s*:\s*1\s*)?\}\s*\Z'
_HEAD = re.compile(_BEFORE + rb"\[")
_TAIL = re.compile(rb"\]" + _BEHIND)
_NONE = re.compile(_BEFORE + b"null" + _BEHIND)  # as Go writes no entries at all
_CUT = re.compile(rb"\}\s*,\s*(?=\{)")


class TocStream:
    """Iterates over lists of entries; `digest` is complete when the iteration has ended."""

    def __init__(self, member: BinaryIO) -> None:
        """`member` begins with the gzip member that holds the TOC as a tar entry."""
        caps = Caps(size=MAX_TOC + 16 * _TAR_BLOCK, ratio=1 << 20)
        self._plain = decompress(member, caps)
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def __iter__(self) -> Iterator[list[TocEntry]]:
        left = _tar_size(self._plain)
        text, wanted = b"", _PIECE
        text, left = self._more(text, left, wanted)
        head = _HEAD.match(text)
        if not left and _NONE.match(text):
            return
        if head is None:
            raise IntegrityError("the TOC does not begin as TOCs do")
        text = text[head.end() :]
        while left:
            entries, text = _cut(text)
            if entries:
                yield entries
            wanted = _PIECE if entries else 2 * len(text)
            if wanted > _PIECE_MAX:
                raise IntegrityError("the TOC has an entry of impossible length")
            text, left = self._more(text, left, wanted)
        yield from _rest(text)

    def _more(self, text: bytes, left: int, size: int) -> tuple[bytes, int]:
        data = self._plain.read(min(left, size))
        if not data and left:
            raise IntegrityError("the TOC ends early")
        self._hash.update(data)
        return text + data, left - len(data)


def _tar_size(plain: BinaryIO) -> int:
    """The length of the JSON text, out of the tar header in front of it."""
    head = plain.read(_TAR_BLOCK)
    try:
        size = int(head[124:136].rstrip(b"\0 "), 8)
    except ValueError as error:
        raise IntegrityError("the TOC has no tar header") from error
    if head[:100].rstrip(b"\0") != names.TOC_NAME.encode() or not 0 <= size <= MAX_TOC:
        raise IntegrityError("the tar entry of the TOC is not one")
    return size


def _cut(text: bytes) -> tuple[list[TocEntry], bytes]:
    """(entries before the last good cut, what is left); no entries when there is no cut."""
    cuts = list(_CUT.finditer(text, max(0, len(text) - _PIECE // 4)))
    for cut in reversed(cuts[-_TRIES:]):
        entries = messages.decode_entries(b"[" + text[: cut.start() + 1] + b"]")
        if entries is not None:
            return entries, text[cut.end() :]
    return [], text


def _rest(text: bytes) -> Iterator[list[TocEntry]]:
    tail = _TAIL.search(text, max(0, len(text) - _TAR_BLOCK))
    entries = messages.decode_entries(b"[" + text[: tail.start()] + b"]") if tail else None
    if entries is None:
        raise IntegrityError("the TOC is not valid JSON")
    yield entries
