"""From a blob's last bytes to a tree, and every blob for which there is none."""

import gzip
import json

import pytest
from support import layers
from support.layers import file, folder, link
from support.lazylayers import MemoryCache, MemorySource, content
from support.tiny_image import noise

from lazybuild.errors import IntegrityError
from lazybuild.estargz import footer, tarwrite
from lazybuild.estargz.entry import Entry, Kind
from lazybuild.snapshots.lazyfs import opening
from lazybuild.snapshots.lazyfs.layer import LazyLayer
from lazybuild.snapshots.lazyfs.opening import open_tree
from lazybuild.snapshots.lazyfs.reader import ChunkReader
from lazybuild.snapshots.lazyfs.tree import ROOT


def with_toc(text, payload=b"x" * 100):
    """A blob whose TOC is this text, whatever it says."""
    head = tarwrite.header(Entry(name="stargz.index.json", kind=Kind.REG, size=len(text), mode=0))
    tar = head + text + bytes(-len(text) % 512 + 1024)
    return payload + gzip.compress(tar, mtime=0) + footer.estargz(len(payload))


def opened(blob, digest=None, text=None):
    return open_tree(MemorySource(blob), {}, digest or layers.digest(text))


def names(tree):
    return [name for _, name, _ in tree.children(ROOT)]


def entries(count):
    return [
        {"name": f"f{n:05}", "type": "reg", "xattrs": {"user.a": "eA=="}, "linkName": '},{"name":"'}
        for n in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 9000])
@pytest.mark.parametrize("indent", [None, "\t"])
def test_a_toc_of_any_length_and_style(count, indent):
    text = json.dumps({"version": 1, "entries": entries(count)}, indent=indent).encode()
    tree, reason = opened(with_toc(text), text=text)
    assert reason == ""
    assert len(names(tree)) == count


def test_the_version_may_stand_behind_the_entries():
    text = json.dumps({"entries": entries(3), "version": 1}).encode()
    tree, _ = opened(with_toc(text), text=text)
    assert len(names(tree)) == 3


@pytest.mark.parametrize(
    "text", [b'{"version":1,"entries":null}', b'{"entries": null,\n"version": 1}']
)
def test_no_entries_at_all_as_go_writes_them(text):
    tree, reason = opened(with_toc(text), text=text)
    assert reason == ""
    assert names(tree) == []


def test_names_that_look_like_the_end_of_an_entry():
    odd = [{"name": '"},{"a":"', "type": "reg"}, {"name": "]}", "type": "reg"}]
    text = json.dumps({"version": 1, "entries": odd * 3000}).encode()
    tree, _ = opened(with_toc(text), text=text)
    assert names(tree) == [b'"},{"a":"', b"]}"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b'{"version":1,"entries":[',
        b'{"version":1,"entries":[{"name":"a","type":"reg"}]',
        b'{"version":1,"entries":[{"name":"a","type":"reg"},]}',
        b'{"version":2,"entries":[]}',
        b'{"version":1,"entries":[{"name":1,"type":"reg"}]}',
        b'{"version":1,"entries":[{"name":"a","type":"reg","size":NaN}]}',
        b'{"version":1,"entries":[]} trailing',
        b'{"version":1,"entries":[' + b"[" * 100_000 + b"]}",
        b'{"version":1,"entries":[{"name":"\xff","type":"reg"}]}',
    ],
)
def test_a_toc_that_is_none_is_refused(text):
    with pytest.raises(IntegrityError):
        opened(with_toc(text), text=text)


def test_a_toc_of_a_gigabyte_is_refused_before_it_is_read():
    head = bytearray(tarwrite.header(Entry(name="stargz.index.json", kind=Kind.REG, size=1)))
    head[124:136] = b"%011o\0" % (1 << 30)
    blob = b"x" + gzip.compress(bytes(head)) + footer.estargz(1)
    with pytest.raises(IntegrityError):
        opened(blob, "sha256:" + "0" * 64)


def test_an_entry_of_impossible_length_is_refused():
    text = b'{"version":1,"entries":[{"name":"' + b"a" * (20 << 20) + b'","type":"reg"}]}'
    with pytest.raises(IntegrityError):
        opened(with_toc(text), text=text)


def test_another_digest_is_refused():
    text = b'{"version":1,"entries":[]}'
    with pytest.raises(IntegrityError, match="TOC digest is sha256:"):
        opened(with_toc(text), "sha256:" + "0" * 64)


@pytest.mark.parametrize("cut", [1, 10, 51, 60])
def test_a_blob_without_its_footer_is_not_lazy(cut):
    blob, written = layers.write([file("f", b"data")])
    assert opened(blob[:-cut], written.toc_digest) == (None, "it has no TOC")


@pytest.mark.parametrize("offset", [0, 1, 1 << 40, (1 << 63) + 5])
def test_a_footer_that_points_elsewhere(offset):
    blob, written = layers.write([file("f", b"data")])
    broken = blob[:-51] + footer.estargz(offset)
    try:
        tree, _ = opened(broken, written.toc_digest)
    except IntegrityError:
        return
    assert tree is None


def test_a_layer_nobody_vouches_for_is_not_lazy():
    blob, _ = layers.write([file("f", b"data")])
    assert open_tree(MemorySource(blob), {}, "")[0] is None


def test_a_long_tail_comes_in_parts_at_the_same_time(monkeypatch):
    monkeypatch.setattr(opening, "_SMALLEST_TAIL", 5000)
    monkeypatch.setattr(opening, "_PART", 2000)
    blob, written = layers.write([file("f", noise(9000))])
    source = MemorySource(blob)
    tree, _ = open_tree(source, {}, written.toc_digest)
    assert tree is not None
    assert tree.find(b"f")
    end = len(blob)
    assert sorted(source.reads) == [(end - 5000, 2000), (end - 3000, 2000), (end - 1000, 1000)]


def test_one_read_brings_the_toc_of_a_small_layer():
    blob, written = layers.write([file("f", b"data" * 100)])
    source = MemorySource(blob)
    open_tree(source, {}, written.toc_digest)
    assert len(source.reads) == 1


@pytest.mark.parametrize("compression", ["estargz", "zstd:chunked", "zstd:chunked:podman"])
def test_every_lazy_format_reads_the_same(compression):
    from lazybuild.estargz.tail import Compression  # noqa: PLC0415

    data = b"some text, " * 30_000
    items = [folder("d"), file("d/big", data), file("empty"), link("l", "d/big")]
    blob, written = layers.write(items, compression=Compression(compression), chunk_size=65536)
    source = MemorySource(blob)
    tree, reason = open_tree(source, written.annotations, written.toc_digest)
    assert reason == ""
    layer = LazyLayer(digest=written.digest, tree=tree, source=source)
    assert content(ChunkReader(MemoryCache()), layer, "d/big") == data
    assert names(tree) == [b"d", b"empty", b"l"]


def test_files_that_share_a_member_are_read_out_of_one_request():
    """Members of a least size (min-chunk-size): payloads with the headers between them in one."""
    parts = [noise(3000, n) for n in range(4)]
    plain = b"HEAD" + b"PAD!".join(parts)
    member = gzip.compress(plain, mtime=0)
    text = json.dumps(
        {
            "version": 1,
            "entries": [
                {"name": f"f{n}", "type": "reg", "size": 3000, "offset": 0,
                 "innerOffset": 4 + n * 3004, "chunkDigest": layers.digest(part)}
                for n, part in enumerate(parts)
            ],
        }
    ).encode()  # fmt: skip
    blob = with_toc(text, member)
    source = MemorySource(blob)
    tree, reason = open_tree(source, {}, layers.digest(text))
    assert tree is not None, reason
    layer = LazyLayer(digest=layers.digest(blob), tree=tree, source=source)
    reader = ChunkReader(MemoryCache())
    source.reads.clear()
    assert [content(reader, layer, f"f{n}") for n in range(4)] == parts
    assert source.reads == [(0, len(member))]
