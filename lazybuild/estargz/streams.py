"""Decompression of whole streams: sniffs gzip, bzip2, xz, zstd or nothing, and stops bombs.

For layers fetched whole and for archives of ADD. One thread for one stream.
"""

import bz2
import io
import lzma
from dataclasses import dataclass
from typing import BinaryIO, cast

from lazybuild.errors import IntegrityError
from lazybuild.estargz import codec

_HEAD = 6  # the longest magic number, that of xz
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """Bounds of what a stream may unfold to: bytes, and bytes for each byte read.

    The ratio counts from `free` bytes on, because honest layers have files full of zeros.
    """

    size: int = 1 << 42
    ratio: int = 256
    free: int = 4 << 30


_DEFAULT_CAPS = Caps()


def decompress(stream: BinaryIO, caps: Caps = _DEFAULT_CAPS) -> BinaryIO:
    """A stream of the content. Broken data and bombs raise IntegrityError when they are read.

    A zstd stream that is cut short just ends; what reads the content (a tar, a digest) notices.
    """
    source = _Counted(stream)
    return _Capped(_unpacked(source, source.peek_head()), source, caps)


def _unpacked(source: "_Counted", head: bytes) -> BinaryIO:
    match kind(head):
        case "gzip":
            return codec.gzip_stream(source)
        case "bzip2":
            return cast("BinaryIO", bz2.BZ2File(source))
        case "xz":
            return cast("BinaryIO", lzma.LZMAFile(source, format=lzma.FORMAT_XZ))
        case "zstd":
            return codec.zstd_stream(source)
    return source


def kind(head: bytes) -> str:
    """The name of what begins like this: gzip, bzip2, xz, zstd, or "" if nothing known."""
    known = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", codec.ZSTD_MAGIC: "zstd"}
    found = next((name for magic, name in known.items() if head.startswith(magic)), "")
    return found or ("zstd" if _is_skippable(head) else "")


def kind_of(file: BinaryIO) -> str:
    """The kind of a file that stands at its start, and stands there again."""
    head = file.read(_HEAD)
    file.seek(0)
    return kind(head)


def _is_skippable(head: bytes) -> bool:
    return head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F  # noqa: PLR2004 RFC 8878 3.1.2


class _Counted(io.BufferedIOBase, BinaryIO):
    """The packed bytes, with a count of them and the first few looked at."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._head = b""
        self.count = 0

    def readable(self) -> bool:
        return True

    def peek_head(self) -> bytes:
        while len(self._head) < _HEAD:
            data = self._stream.read(_HEAD - len(self._head))
            if not data:
                break
            self._head += data
        return self._head

    def read(self, size: int | None = -1, /) -> bytes:
        length = -1 if size is None else size
        if self._head and length:
            data = self._head if length < 0 else self._head[:length]
            self._head = self._head[len(data) :]
            if length < 0:
                data += self._stream.read()
        else:
            data = self._stream.read(length)
        self.count += len(data)
        return data

    read1 = read


def _broken() -> tuple[type[Exception], ...]:
    return (*codec.stream_errors(), lzma.LZMAError)


class _Capped(io.BufferedIOBase, BinaryIO):
    """The content, counted against the caps, with one kind of error."""

    def __init__(self, inner: BinaryIO, source: _Counted, caps: Caps) -> None:
        self._inner = inner
        self._source = source
        self._caps = caps
        self._count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(_BLOCK), b""))
        try:
            data = self._inner.read(size)
        except _broken() as error:
            raise IntegrityError(f"broken compressed data: {error}") from error
        except OSError as error:
            if error.errno is not None:  # the source's; those of bz2 and gzip have none
                raise
            raise IntegrityError(f"broken compressed data: {error}") from error
        self._count += len(data)
        self._check()
        return data

    read1 = read

    def _check(self) -> None:
        caps = self._caps
        if self._count > caps.size:
            raise IntegrityError(f"content is larger than the {caps.size} bytes allowed")
        if self._count > caps.free and self._count > caps.ratio * max(self._source.count, 1):
            raise IntegrityError(f"content is more than {caps.ratio} times its packed size")
