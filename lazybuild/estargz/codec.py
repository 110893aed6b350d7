"""Compression of one piece and decompression of bounded pieces; door to isal, deflate, zstandard.

A compressor turns a piece into one gzip member or one zstd frame, the same bytes every time.
libdeflate and isal are pinned by the wheel; `describe` records their versions. All functions are
safe in threads and give the interpreter lock up while they work. Streams of layers: `streams`.
Writing gzip at the default level needs libdeflate alone: the others are loaded when they are used,
and where layers are only written (the frontend image) they need not be there.
"""

import io
import struct
import threading
from collections.abc import Callable
from typing import BinaryIO, Protocol, cast

import deflate

from lazybuild.errors import IntegrityError, UsageError

Buffer = bytes | bytearray | memoryview
Compressor = Callable[[Buffer], bytes | bytearray]

DEFAULT_GZIP_LEVEL = 6
DEFAULT_ZSTD_LEVEL = 3
GZIP_MAGIC = b"\x1f\x8b\x08"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MAX_WINDOW = 1 << 27

_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_IGZIP_LEVELS = (1, 2, 3)
_MAX_LIBDEFLATE, _MAX_ZSTD = 12, 22
_MORE = 1 << 16
_local = threading.local()


def compressor(name: str) -> Compressor:
    """By name: "gzip:N" (0, 4-12 libdeflate, 1-3 igzip), "zstd:N" (1-22) or "none"."""
    family, _, text = name.partition(":")
    default = DEFAULT_ZSTD_LEVEL if family == "zstd" else DEFAULT_GZIP_LEVEL
    if text and not (text.isascii() and text.isdigit()):
        raise UsageError(f"no such compression: {name!r}")
    level = int(text) if text else default
    if family == "none" and not text:
        return bytes
    if family == "gzip" and level in _IGZIP_LEVELS:
        return lambda data: _igzip(data, level)
    if family == "gzip" and level <= _MAX_LIBDEFLATE:
        return lambda data: deflate.gzip_compress(data, level)
    if family == "zstd" and 1 <= level <= _MAX_ZSTD:
        return lambda data: _zstd(data, level)
    raise UsageError(f"no such compression: {name!r}")


def describe() -> dict[str, str]:
    """Names and versions of what decides the bytes of a layer."""
    import isal  # noqa: PLC0415  few builds need it
    import zstandard  # noqa: PLC0415  few builds need it

    return {
        "deflate": deflate.__version__,
        "isal": isal.__version__,
        "zstandard": zstandard.__version__,
    }


def identity(name: str) -> str:
    """What decides the bytes that a compressor makes, "" where more does: igzip's hang on the
    processor, too.
    """
    family, _, text = name.partition(":")
    if family == "gzip" and int(text or DEFAULT_GZIP_LEVEL) not in _IGZIP_LEVELS:
        return f"{name} deflate {deflate.__version__}"
    return ""


def _igzip(data: Buffer, level: int) -> bytes:
    from isal import isal_zlib  # noqa: PLC0415  few layers need it

    body = isal_zlib.compress(data, level, -15)
    trailer = struct.pack("<II", isal_zlib.crc32(data), len(data) & 0xFFFFFFFF)
    return b"".join((_GZIP_HEAD, body, trailer))


def _zstd(data: Buffer, level: int) -> bytes:
    """One context for each thread and level: making one costs more than a small frame."""
    import zstandard  # noqa: PLC0415  few layers need it

    contexts: dict[int, zstandard.ZstdCompressor] = _local.__dict__.setdefault("contexts", {})
    if level not in contexts:
        contexts[level] = zstandard.ZstdCompressor(level=level, write_content_size=True)
    return contexts[level].compress(data)


def inflate(data: Buffer, limit: int) -> bytes:
    """The first `limit` bytes (or fewer) of what the gzip members or zstd frames hold.

    The kind is sniffed. Stops at the limit whatever follows, so that no bomb goes off.
    """
    head = bytes(data[:4])
    if head.startswith(GZIP_MAGIC):
        return _inflate_gzip(data, limit)
    if head == ZSTD_MAGIC:
        return _inflate_zstd(data, limit)
    raise IntegrityError("piece is neither gzip nor zstd")


def _inflate_gzip(data: Buffer, limit: int) -> bytes:
    """By libdeflate where the trailer says that the member holds little more than is wanted.

    It is a third faster but needs the whole member and its size; a trailer that lies is no harm,
    because the size bounds the output, and igzip, which stops at the limit, comes next.
    """
    size = int.from_bytes(data[-4:], "little")
    if limit <= size <= limit + _MORE:
        try:
            return bytes(memoryview(deflate.gzip_decompress(data, size))[:limit])
        except deflate.DeflateError:
            pass  # not one whole member
    from isal import isal_zlib  # noqa: PLC0415  few chunks need it

    try:
        found: bytes = isal_zlib.decompressobj(31).decompress(data, limit) if limit else b""
    except _isal_error() as error:
        raise IntegrityError(f"broken gzip data: {error}") from error
    return found


def inflate_members(data: bytes, size: int) -> bytes:
    """All that whole gzip members hold, which must be `size` bytes, checksums seen to."""
    try:
        with gzip_stream(io.BytesIO(data)) as stream:
            plain = stream.read(size + 1)
    except (OSError, EOFError, _isal_error()) as error:
        raise IntegrityError(f"broken gzip members: {error}") from error
    if len(plain) != size:
        raise IntegrityError("gzip members of another size than they say")
    return plain


def _isal_error() -> type[Exception]:
    from isal import isal_zlib  # noqa: PLC0415  few chunks need it

    return isal_zlib.error  # type: ignore[return-value]  # its stub says instance


def _inflate_zstd(data: Buffer, limit: int) -> bytes:
    import zstandard  # noqa: PLC0415  few layers need it

    engine = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    parts: list[bytes] = []
    try:
        with engine.stream_reader(data, read_across_frames=True) as reader:
            while limit and (part := reader.read(limit)):
                parts.append(part)
                limit -= len(part)
    except zstandard.ZstdError as error:
        raise IntegrityError(f"broken zstd data: {error}") from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


class Packer(Protocol):
    """A stream compressor."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def packer(level: int) -> Packer:
    """Packs a stream into one zstd frame."""
    import zstandard  # noqa: PLC0415  few layers need it

    return zstandard.ZstdCompressor(level=level).compressobj()


def zstd_stream(source: BinaryIO) -> BinaryIO:
    """All frames of a stream, skippable ones passed over."""
    import zstandard  # noqa: PLC0415  few layers need it

    engine = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    return engine.stream_reader(source, read_across_frames=True)


def gzip_stream(source: BinaryIO) -> BinaryIO:
    """All members of a stream."""
    from isal import igzip  # noqa: PLC0415  few layers need it

    return cast("BinaryIO", igzip.open(source, "rb"))  # type: ignore[no-untyped-call]  # no stub


def stream_errors() -> tuple[type[Exception], ...]:
    """What reading those raises on broken data, besides OSError."""
    import zstandard  # noqa: PLC0415  few layers need it

    return zstandard.ZstdError, _isal_error(), EOFError
