"""Whole streams: every codec is sniffed, every bomb stops."""

import bz2
import gzip
import io
import lzma

import pytest
import zstandard

from lazybuild.errors import IntegrityError, UsageError
from lazybuild.estargz import codec, streams

TEXT = b"some text that repeats, some text that repeats; " * 5000


def packed():
    zstd = zstandard.ZstdCompressor(write_checksum=True).compress
    return {
        "plain": TEXT,
        "gzip": gzip.compress(TEXT),
        "gzip members": gzip.compress(TEXT[:9]) + gzip.compress(b"") + gzip.compress(TEXT[9:]),
        "bzip2": bz2.compress(TEXT),
        "bzip2 streams": bz2.compress(TEXT[:9]) + bz2.compress(TEXT[9:]),
        "xz": lzma.compress(TEXT),
        "zstd": zstd(TEXT),
        "zstd frames": zstd(TEXT[:9]) + b"\x5f\x2a\x4d\x18\3\0\0\0abc" + zstd(TEXT[9:]),
        "zstd skippable first": b"\x50\x2a\x4d\x18\0\0\0\0" + zstd(TEXT),
    }


def unpack(data, **caps):
    return streams.decompress(io.BytesIO(data), streams.Caps(**caps)).read()


@pytest.mark.parametrize("name", packed())
def test_every_codec(name):
    assert unpack(packed()[name]) == TEXT


@pytest.mark.parametrize("name", packed())
def test_reads_of_any_size(name):
    stream = streams.decompress(io.BytesIO(packed()[name]))
    assert b"".join(iter(lambda: stream.read(1000), b"")) == TEXT


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
def test_a_stream_that_is_cut(name):
    data = packed()[name]
    with pytest.raises(IntegrityError):
        unpack(data[: len(data) // 2])
    with pytest.raises(IntegrityError):
        unpack(data[:-3])


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd"])
def test_a_stream_with_a_flipped_bit(name):
    data = bytearray(packed()[name])
    data[len(data) // 2] ^= 0x10
    with pytest.raises(IntegrityError):
        unpack(bytes(data))


def test_garbage_behind_gzip():
    with pytest.raises(IntegrityError):
        unpack(gzip.compress(TEXT) + b"garbage")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zstandard.ZstdCompressor().compress])
def test_bombs_stop_at_the_size_and_at_the_ratio(pack):
    bomb = pack(bytes(30 << 20))
    with pytest.raises(IntegrityError, match="larger than"):
        unpack(bomb, size=1 << 20)
    with pytest.raises(IntegrityError, match="times"):
        unpack(bomb, free=1 << 20, ratio=50)


def test_a_bomb_of_many_members():
    bomb = gzip.compress(bytes(1 << 20)) * 20
    with pytest.raises(IntegrityError, match="larger than"):
        unpack(bomb, size=5 << 20)


def test_a_zstd_window_of_two_gigabytes():
    head = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(31 - 10) << 3]) + b"\x01\x00\x00"
    with pytest.raises(IntegrityError):
        unpack(head)


def test_nothing_at_all():
    assert unpack(b"") == b""


@pytest.mark.parametrize("name", ["gzip", *(f"gzip:{n}" for n in range(13))])
@pytest.mark.parametrize("data", [b"", b"x", TEXT])
def test_members_are_gzip_and_the_same_every_time(name, data):
    pack = codec.compressor(name)
    member = bytes(pack(data))
    assert gzip.decompress(member) == data
    assert member == bytes(codec.compressor(name)(data))
    assert member[:8] == b"\x1f\x8b\x08\0\0\0\0\0"


@pytest.mark.parametrize("name", ["zstd", "zstd:1", "zstd:3", "zstd:19"])
def test_frames_are_zstd(name):
    frame = codec.compressor(name)(TEXT)
    assert zstandard.decompress(frame) == TEXT
    assert codec.inflate(frame, 10) == TEXT[:10]


@pytest.mark.parametrize(
    "name", ["gzip:13", "gzip:x", "zstd:0", "zstd:23", "lz4", "none:1", "gzip:²"]
)
def test_compressions_that_are_none(name):
    with pytest.raises(UsageError):
        codec.compressor(name)


def test_inflate_stops_at_its_limit():
    assert codec.inflate(gzip.compress(bytes(50 << 20)), 10) == bytes(10)
    assert codec.inflate(zstandard.ZstdCompressor().compress(bytes(50 << 20)), 10) == bytes(10)
    assert codec.inflate(gzip.compress(b"abc"), 0) == b""
