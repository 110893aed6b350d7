"""Footers and foreign blobs: legacy stargz, external TOC, min-chunk-size, Go's bytes."""

import gzip
import io
import struct

import pytest
from support import items
from support.layers import Bytes, blob_with_toc, digest, file, raw_toc, write

from lazybuild.estargz import footer, reader, streams
from lazybuild.estargz.footer import Layout
from lazybuild.estargz.tail import Compression

GO_FOOTER = bytes.fromhex(
    "1f8b08040000000000ff1a0053471600" + b"0000000000000123STARGZ".hex() + "010000ffff" + "00" * 8
)


def test_the_footer_is_the_bytes_that_go_writes():
    assert footer.estargz(0x123) == GO_FOOTER
    assert len(GO_FOOTER) == 51
    assert gzip.decompress(GO_FOOTER) == b""


def legacy(offset):
    extra = b"%016x" % offset + b"STARGZ"
    head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + struct.pack("<H", len(extra)) + extra
    return head + b"\x01\0\0\xff\xff" + bytes(8)


EXTERNAL = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x15\0SG\x11\0STARGZEXTERNALTOC\x01\0\0\xff\xff" + bytes(
    8
)


@pytest.mark.parametrize(
    ("tail", "layout", "offset"),
    [
        (footer.estargz(7), Layout.ESTARGZ, 7),
        (legacy(7), Layout.LEGACY, 7),
        (footer.zstd_chunked(7, 5, 6), Layout.ZSTD, 7),
        (footer.podman((7, 5, 6), (13, 1, 1)), Layout.PODMAN, 7),
        (EXTERNAL, Layout.EXTERNAL, 0),
    ],
)
def test_each_footer_is_known(tail, layout, offset):
    found = footer.parse(bytes(100) + tail, 100 + len(tail))
    assert (found.layout, found.toc_offset) == (layout, offset)


def test_sizes_are_those_of_the_formats():
    assert [len(legacy(1)), len(EXTERNAL)] == [47, 46]
    assert len(footer.zstd_chunked(1, 1, 1)) == 48
    assert len(footer.podman((1, 1, 1), (1, 1, 1))) == 72


@pytest.mark.parametrize("at", range(51))
def test_a_footer_with_one_wrong_byte_is_none_or_points_elsewhere(at):
    broken = bytearray(footer.estargz(1))
    broken[at] ^= 0x40
    found = footer.parse(bytes(100) + bytes(broken), 151)
    assert found is None


def test_external_toc_is_seen_and_not_lazy():
    blob = Bytes(gzip.compress(b"x") + EXTERNAL)
    assert reader.has_external_toc(blob)
    assert reader.open_toc(blob) is None
    assert not reader.has_external_toc(Bytes(b""))


def test_legacy_is_read_only_by_those_who_trust_it():
    member = gzip.compress(b"abc", mtime=0)
    entry = {"name": "a", "type": "reg", "size": 3, "digest": digest(b"abc"), "NumLink": 1}
    blob = blob_with_toc(raw_toc([entry]), member)[: -len(GO_FOOTER)] + legacy(len(member))
    found = reader.open_toc(Bytes(blob))
    assert found.layout is Layout.LEGACY
    assert found.expected == ""
    toc = found.trust()
    assert reader.read_file(Bytes(blob), toc, toc.lookup("a")).read() == b"abc"


def test_members_shared_by_several_files():
    member = gzip.compress(b"HEAD" + b"one" + b"PAD" + b"three", mtime=0)
    entries = [
        {"name": "1", "type": "reg", "size": 3, "innerOffset": 4, "chunkDigest": digest(b"one")},
        {"name": "3", "type": "reg", "size": 5, "innerOffset": 10, "digest": digest(b"three")},
    ]
    raw = raw_toc(entries)
    ranges = Bytes(blob_with_toc(raw, member))
    toc = reader.open_toc(ranges).verify(digest(raw))
    assert [c.end for e in toc.entries for c in toc.chunks(e)] == [len(member)] * 2
    assert [item.open().read() for item in items.layer_items(ranges, toc)] == [b"one", b"three"]


def test_one_read_opens_a_layer():
    many = [file(f"{n:06}") for n in range(3000)]
    blob, _ = write(many, compression=Compression.ZSTD_CHUNKED, level=1)
    ranges = Bytes(blob)
    reader.open_toc(ranges)
    assert len(ranges.reads) == 1


def test_a_toc_beyond_the_first_read_takes_one_more(monkeypatch):
    monkeypatch.setattr(reader, "_SMALLEST_TAIL", 1000)
    blob, written = write([file(f"{n}", b"%d" % n) for n in range(500)])
    ranges = Bytes(blob)
    assert len(reader.open_toc(ranges).verify(written.toc_digest).entries) == 501
    assert len(ranges.reads) == 2
    assert sum(length for _, length in ranges.reads) <= len(blob)


def test_the_empty_layer_has_a_toc_with_an_entry():
    blob, written = write([])
    assert written.toc.paths == (".no.prefetch.landmark",)
    assert items.layer_items(Bytes(blob), written.toc) == []


def test_no_landmark_when_prefetch_is_off():
    _, written = write([file("a", b"x")], prefetch=False)
    assert written.toc.paths == ("a",)


def test_the_toc_stays_out_of_what_plain_tools_unpack():
    blob, _ = write([file("a", b"x")])
    raw = streams.decompress(io.BytesIO(blob)).read()
    assert raw.index(bytes(1024)) < raw.index(b"stargz.index.json")


def test_owner_names_that_go_gives_once_are_filled_in():
    entries = [
        {"name": "a/", "type": "dir", "uid": 5, "userName": "five", "gid": 6, "groupName": "six"},
        {"name": "b/", "type": "dir", "uid": 5, "gid": 7},
    ]
    toc = reader.open_toc(Bytes(blob_with_toc(raw_toc(entries)))).trust()
    found = [item.entry for item in items.layer_items(Bytes(b""), toc)]
    assert [(e.uname, e.gname) for e in found] == [("five", "six"), ("five", "")]
