"""Podman's zstd:chunked: what its reader requires of the TOC, the tar-split and the annotations.

Requirements: container-libs storage/pkg/chunked, compression_linux.go; tar-split asm/iterate.go.
"""

import base64
import io
import json
import tarfile

import pytest
import zstandard
from support.layers import digest, file, folder, link, write

from lazybuild.estargz import streams
from lazybuild.estargz.tail import Compression
from lazybuild.estargz.tarsplit import Checksum

KEY = "io.github.containers.zstd-chunked."
ITEMS = [
    folder(""),
    folder("d"),
    file("d/small", b"x" * 700, xattrs={"user.k": b"v"}),
    file("d/big", bytes(range(256)) * 40),
    file("d/empty"),
    link("d/l", "small"),
    file("d/" + "long" * 40, b"y" * 512),
]


def crc64(data):
    rest = 0xFFFFFFFFFFFFFFFF
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = rest >> 1 ^ (0xC96C5795D7870F42 if rest & 1 else 0)
    return (rest ^ 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")


@pytest.mark.parametrize("data", [b"1", b"123456789", b"x" * 5000])
def test_the_checksum_is_crc64(data):
    made = Checksum()
    made.update(data[:3])
    made.update(data[3:])
    assert made.digest() == crc64(data)


@pytest.fixture(scope="module")
def layer():
    blob, written = write(ITEMS, compression=Compression.PODMAN, chunk_size=4096)
    return blob, written.annotations


def frame(blob, position):
    offset, packed, raw = map(int, position.split(":")[:3])
    data = blob[offset : offset + packed]
    head = blob[offset - 8 : offset]
    assert head == b"\x50\x2a\x4d\x18" + packed.to_bytes(4, "little")
    plain = zstandard.ZstdDecompressor().decompress(data, max_output_size=raw)
    assert len(plain) == raw
    return data, plain


def test_manifest_checksum_is_of_the_packed_manifest(layer):
    blob, notes = layer
    data, plain = frame(blob, notes[KEY + "manifest-position"])
    assert notes[KEY + "manifest-checksum"] == digest(data)
    split, _ = frame(blob, notes[KEY + "tarsplit-position"])
    assert json.loads(plain)["tarSplitDigest"] == digest(split)
    assert blob.endswith(b"GNUlInUx")


def lines(layer):
    blob, notes = layer
    _, plain = frame(blob, notes[KEY + "tarsplit-position"])
    return [json.loads(line) for line in plain.splitlines()]


def test_tar_split_and_contents_make_the_tar_again(layer):
    contents = {i.entry.name: i.open().read() for i in ITEMS if i.open}
    out = b""
    for number, line in enumerate(lines(layer)):
        assert line["position"] == number
        payload = base64.b64decode(line["payload"] or "")
        if line["type"] == 2:
            out += payload
        elif line.get("size"):
            data = contents[line["name"]]
            assert payload == crc64(data)
            out += data
    assert out == streams.decompress(io.BytesIO(layer[0])).read()


def test_each_segment_is_padding_and_one_header_that_agrees_with_the_toc(layer):
    blob, notes = layer
    _, plain = frame(blob, notes[KEY + "manifest-position"])
    toc = {e["name"]: e for e in json.loads(plain)["entries"] if e["type"] != "chunk"}
    padding = 0
    for line in lines(layer):
        if line["type"] != 2:
            continue
        segment = base64.b64decode(line["payload"])[padding:]
        if not segment.strip(b"\0"):
            continue
        size = 512 if segment[156:157] != b"x" else 512 + 512 + 512
        assert len(segment) == size
        with tarfile.open(fileobj=io.BytesIO(segment + bytes(9000))) as archive:
            member = archive.next()
        name = member.name + "/" * member.isdir()
        entry = toc.pop(name)
        assert (entry.get("mode", 0), entry.get("size", 0)) == (member.mode, member.size)
        padding = -member.size % 512
    assert not toc


def test_pieces_end_where_their_payload_ends(layer):
    blob, notes = layer
    _, plain = frame(blob, notes[KEY + "manifest-position"])
    entries = json.loads(plain)["entries"]
    big = [e for e in entries if e["name"] == "d/big"]
    assert [e["chunkSize"] for e in big] == [4096, 4096, 2048]
    data = blob[big[0]["offset"] : big[0]["endOffset"]]
    whole = streams.decompress(io.BytesIO(data)).read()
    assert whole == bytes(range(256)) * 40
    assert "digest" not in next(e for e in entries if e["name"] == "d/empty")
