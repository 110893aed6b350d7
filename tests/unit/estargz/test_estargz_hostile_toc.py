"""Layouts of rootless-build threat lists, section B: refused on open, or never trusted."""

import gzip
import json

import pytest
from support.layers import Bytes, blob_with_toc, digest, file, folder, raw_toc, write

from lazybuild.errors import IntegrityError
from lazybuild.estargz import footer, reader, toc, validate
from lazybuild.estargz.tail import Compression

A = digest(b"a")
MEMBER = gzip.compress(b"a", mtime=0)
END = len(MEMBER) * 8


def reg(name="a", **more):
    entry = {"name": name, "type": "reg", "size": 1, "offset": 0, "innerOffset": 0}
    return {**entry, "digest": A, "chunkDigest": A, **more}


def opened(raw, payload=MEMBER * 8):
    found = reader.open_toc(Bytes(blob_with_toc(raw, payload)))
    return found.verify(digest(raw))


def refused(*entries, match=None):
    with pytest.raises(IntegrityError, match=match):
        opened(raw_toc(list(entries)))


def test_the_honest_twin_of_these_opens():
    found = opened(raw_toc([reg(), {"name": "d/", "type": "dir"}]))
    assert found.paths == ("a", "d")
    blob = Bytes(blob_with_toc(raw_toc([reg()]), MEMBER))
    assert reader.read_chunk(blob, found.chunks(found.entries[0])[0]) == b"a"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "..", "x\0y", "", ".", "/", "b" * 256])
def test_names_that_leave_the_layer_or_name_nothing(name):
    refused(reg(name))


def test_a_name_longer_than_a_path_can_be():
    refused(reg("/".join(["d" * 200] * 30)), match="too long")


def test_an_absolute_name_is_inside_the_layer():
    assert opened(raw_toc([reg("/etc//./x")])).paths == ("etc/x",)


@pytest.mark.parametrize(
    "change",
    [
        {"offset": END},
        {"offset": END + 10**15},
        {"offset": -1},
        {"innerOffset": -1},
        {"innerOffset": 1 << 40},
        {"size": -1},
        {"size": 1 << 62},
        {"size": 1 << 30},
        {"type": "socket"},
        {"type": ""},
        {"uid": -1},
        {"uid": 2**32 - 1},
        {"gid": 2**40},
        {"chunkSize": 2},
        {"chunkOffset": 1},
        {"digest": "", "chunkDigest": ""},
        {"chunkDigest": "md5:abc"},
        {"chunkDigest": "sha256:" + "A" * 64},
        {"xattrs": {"user.a\0b": ""}},
        {"xattrs": {"user.a": "A" * 100_000}},
        {"type": "char", "size": 0, "devMajor": -1},
    ],
)
def test_fields_out_of_range(change):
    refused(reg(**change))


def chunked(*pieces, size=3):
    first, *rest = [
        {"offset": offset, "chunkOffset": at, "chunkSize": length, "chunkDigest": A}
        for offset, at, length in pieces
    ]
    head = {"name": "a", "type": "reg", "size": size, "digest": A, **first}
    return [head, *({"name": "a", "type": "chunk", **piece} for piece in rest)]


def test_chunks_that_fit():
    found = opened(raw_toc(chunked((0, 0, 1), (30, 1, 1), (60, 2, 0))))
    places = [(c.file_offset, c.size) for c in found.chunks(found.entries[0])]
    assert places == [(0, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize(
    "pieces",
    [
        [(0, 0, 1), (30, 2, 1)],  # hole
        [(0, 0, 2), (30, 1, 2)],  # overlap
        [(0, 0, 1), (30, 1, 1)],  # too short
        [(0, 0, 1), (30, 1, 5)],  # too long
        [(0, 0, 1), (30, 1, 0), (60, 2, 1)],  # a piece to the end, and one more
        [(0, 0, 1), (30, 3, 0)],  # nothing left
        [(30, 0, 1), (0, 1, 2)],  # out of order
        [(30, 0, 1), (30, 1, 2)],  # the same place twice
    ],
)
def test_chunks_that_do_not_cover_their_file(pieces):
    refused(*chunked(*pieces))


def test_a_chunk_of_no_file():
    refused({"name": "a", "type": "chunk", "chunkOffset": 1}, match="no file")
    refused(reg(), {"name": "b", "type": "chunk", "chunkOffset": 1}, match="no file")
    refused({"name": "a", "type": "dir"}, {"name": "a", "type": "chunk"}, match="no file")


def test_a_piece_shared_by_two_files():
    refused(reg("a"), reg("b"), match="out of place")


@pytest.mark.parametrize(
    "entries",
    [
        [("h", "nowhere")],
        [("h", "h")],
        [("h", "i"), ("i", "h")],
        [("h", "../x")],
        [("h", "d")],
        [("h", "")],
    ],
)
def test_hard_links_that_lead_nowhere(entries):
    links = [{"name": name, "type": "hardlink", "linkName": to} for name, to in entries]
    refused({"name": "d/", "type": "dir"}, *links)


def test_a_hard_link_to_a_hard_link_reaches_the_file():
    links = [{"name": n, "type": "hardlink", "linkName": t} for n, t in (("h", "i"), ("i", "a"))]
    found = opened(raw_toc([reg(), *links]))
    assert found.target(found.lookup("h")) is found.lookup("a")


def test_an_entry_below_what_is_no_directory():
    refused(reg("f"), reg("f/x", offset=30), match="no directory")
    refused({"name": "l", "type": "symlink", "linkName": "/"}, reg("l/etc/x"), match="no directory")


@pytest.mark.parametrize("target", ["", "x" * 5000, "a\0b"])
def test_symlink_targets_that_no_kernel_holds(target):
    refused({"name": "l", "type": "symlink", "linkName": target})


def test_a_symlink_of_2000_characters_is_fine():
    entry = {"name": "l", "type": "symlink", "linkName": "x" * 2000}
    assert opened(raw_toc([entry])).entries[0].link_name == "x" * 2000


def test_of_the_same_name_the_last_wins():
    found = opened(raw_toc([reg("a", mode=1), reg("b", offset=30), reg("./a", offset=60, mode=2)]))
    assert found.paths == ("b", "a")
    assert found.lookup("a").mode == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'{"version":1}',
        b'{"version":2,"entries":[]}',
        b'{"version":NaN,"entries":[]}',
        b'{"version":1,"entries":[]} x',
        b'{"version":1,"entries":[{}]}',
        b'{"version":1,"entries":[{"name":1,"type":"reg"}]}',
        b'{"version":1,"entries":[{"name":"a","type":"reg","size":1e400}]}',
        b'{"version":1,"entries":[{"name":"a","type":"reg","size":99999999999999999999999}]}',
        b'{"version":1,"entries":[{"name":"\xff","type":"dir"}]}',
        b'{"version":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"entries":[]}',
        b'{"version":1,"entries":' + b"[" * 100_000,
    ],
)
def test_json_that_is_no_toc(raw):
    with pytest.raises(IntegrityError):
        opened(raw)


def test_an_empty_layer_as_go_writes_it():
    assert opened(b'{"version":1,"entries":null}').entries == ()


def test_a_digest_other_than_the_manifests():
    found = reader.open_toc(Bytes(blob_with_toc(raw_toc([reg()]), MEMBER)))
    with pytest.raises(IntegrityError, match="manifest says"):
        found.verify(A)


def test_without_annotation_nothing_is_expected():
    found = reader.open_toc(Bytes(blob_with_toc(raw_toc([reg()]), MEMBER)))
    assert found.expected == ""
    assert not hasattr(found, "chunks")


@pytest.mark.parametrize("offset", [10**12, 2**63, 0xFFFFFFFFFFFFFFFF])
def test_a_footer_past_the_end_is_no_footer(offset):
    assert reader.open_toc(Bytes(MEMBER + footer.estargz(offset))) is None


def test_a_footer_that_points_at_itself_is_no_footer():
    assert reader.open_toc(Bytes(MEMBER + footer.estargz(len(MEMBER)))) is None


@pytest.mark.parametrize("blob", [b"", b"x", b"\x1f\x8b" * 60, footer.estargz(0)])
def test_what_is_too_short_has_no_toc(blob):
    assert reader.open_toc(Bytes(blob)) is None


def test_a_toc_that_says_it_is_huge(monkeypatch):
    monkeypatch.setattr(reader, "MAX_TOC", 1000)
    big = raw_toc([{"name": "x" * 100, "type": "dir"}] * 100)
    with pytest.raises(IntegrityError):
        reader.open_toc(Bytes(blob_with_toc(big)))
    blob = Bytes(bytes(3000) + footer.zstd_chunked(8, 10, 1 << 40))
    with pytest.raises(IntegrityError, match="too large"):
        reader.open_toc(blob)


def test_a_toc_member_that_holds_something_else():
    blob = MEMBER + gzip.compress(b"x" * 2000) + footer.estargz(len(MEMBER))
    with pytest.raises(IntegrityError):
        reader.open_toc(Bytes(blob))
    with pytest.raises(IntegrityError):
        reader.open_toc(Bytes(MEMBER + b"not gzip" + footer.estargz(len(MEMBER))))


def test_a_piece_with_other_bytes_is_refused():
    raw = raw_toc([reg(chunkDigest=digest(b"b"))])
    found = opened(raw)
    with pytest.raises(IntegrityError, match="TOC says"):
        reader.decode_chunk(MEMBER, found.chunks(found.entries[0])[0])


def test_a_piece_that_inflates_beyond_its_size_is_cut_and_refused():
    bomb = gzip.compress(bytes(50 << 20), mtime=0)
    chunk = toc.Chunk(0, len(bomb), 0, 0, 100, digest(bytes(101)))
    with pytest.raises(IntegrityError, match="TOC says"):
        reader.decode_chunk(bomb, chunk)


@pytest.mark.parametrize("raw", [b"", b"\x1f\x8b\x08", MEMBER[:-12], b"plain bytes", MEMBER[:11]])
def test_a_piece_that_is_cut_short_or_no_gzip(raw):
    with pytest.raises(IntegrityError):
        reader.decode_chunk(raw, toc.Chunk(0, len(raw), 0, 0, 1, A))


def test_a_tiny_piece_never_fetches_a_huge_gap():
    found = opened(raw_toc([reg("a"), reg("b", offset=1 << 20)]), bytes(1 << 21))
    chunk = found.chunks(found.lookup("a"))[0]
    assert chunk.end - chunk.offset < 10_000


def test_both_formats_at_once_are_refused():
    blob, written = write([file("a", b"x")], compression=Compression.PODMAN)
    both = {**written.annotations, "containerd.io/snapshot/stargz/toc.digest": A}
    with pytest.raises(IntegrityError, match="both"):
        reader.open_toc(Bytes(blob), both)


@pytest.mark.parametrize("text", ["", "1:2", "a:b:c:1", "-5:2:3:1", "0:1:1:1", "8:999999999:9:1"])
def test_positions_that_make_no_sense(text):
    blob, written = write([file("a", b"x")], compression=Compression.PODMAN)
    key = next(k for k in written.annotations if k.endswith("manifest-position"))
    with pytest.raises(IntegrityError):
        reader.open_toc(Bytes(blob), {**written.annotations, key: text})


def test_landmarks_bound_the_prefetch():
    _, written = write([folder("d"), file("a", b"x")], hot=["a"])
    found = written.toc
    assert 0 < found.prefetch_end < found.data_end
    mark = reg(".prefetch.landmark", offset=30)
    both = [reg("a"), mark, reg(".no.prefetch.landmark", offset=60)]
    assert opened(raw_toc(both)).prefetch_end == 0
    assert opened(raw_toc([reg("a"), {**mark, "type": "dir", "size": 0}])).prefetch_end <= END


def test_strictness_is_only_for_the_verified():
    legacy = raw_toc([reg(digest="", chunkDigest="")])
    found = reader.open_toc(Bytes(blob_with_toc(legacy, MEMBER)))
    assert found.trust().chunks(found.trust().entries[0])[0].digest == ""
    with pytest.raises(IntegrityError, match="can't be verified"):
        found.verify(digest(legacy))


def test_unknown_keys_are_passed_over():
    entry = {**reg(), "NumLink": 3, "x": {"y": [1]}}
    assert opened(raw_toc([entry], more=1)).paths == ("a",)


def test_a_hundred_thousand_entries_are_checked_in_seconds():
    entries = [{"name": f"d/{n}", "type": "symlink", "linkName": "x"} for n in range(100_000)]
    assert len(opened(raw_toc(entries)).entries) == 100_000


def test_deep_nesting_is_bounded_by_the_path_length():
    name = "/".join(["d"] * 2000)
    assert opened(raw_toc([reg(name)])).paths == (name,)


def test_duplicate_keys_do_not_split_the_view():
    raw = json.dumps({"version": 1, "entries": []})[:-1] + ',"entries":[{"name":"d","type":"dir"}]}'
    assert opened(raw.encode()).paths == ("d",)


def test_validate_is_the_only_way_to_a_toc():
    assert reader.UnverifiedToc is validate.UnverifiedToc
    assert not hasattr(reader.UnverifiedToc, "entries")


def test_a_chain_of_hard_links_is_short():
    def chain(length):
        links = [{"name": "0", "type": "fifo"}]
        links += [
            {"name": str(n), "type": "hardlink", "linkName": str(n - 1)}
            for n in range(1, length + 1)
        ]
        return links

    assert len(opened(raw_toc(chain(16))).paths) == 17
    refused(*chain(20_000), match="leads nowhere")


def test_a_toc_of_too_many_records(monkeypatch):
    monkeypatch.setattr(toc, "MAX_RECORDS", 3)
    refused(*[{"name": f"{n}", "type": "fifo"} for n in range(3)], match="records")
