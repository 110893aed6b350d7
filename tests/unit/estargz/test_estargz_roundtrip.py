import gzip
import hashlib
import io
import tarfile
import zlib

import pytest
from support import items
from support.layers import Bytes, content, file, folder, link, write

from lazybuild.estargz import reader, streams, tar
from lazybuild.estargz.writer import Compression, WriterOptions, write_layer

ITEMS = [
    folder("etc"),
    file("etc/a", b"alpha", mtime=5_000_000_000, uid=7),
    file("etc/big", bytes(range(256)) * 50, xattrs={"user.x": b"\0\xff"}),
    file("etc/empty", b""),
    link("etc/ln", "../x"),
    link("etc/hard", "etc/a", hard=True),
    file("z" * 120 + "/" + "y" * 200, b"long"),
]


@pytest.mark.parametrize("kind", [kind for kind in Compression if kind.lazy])
def test_lazy_view_has_every_byte(kind):
    blob, written = write(ITEMS, compression=kind, chunk_size=4096)
    ranges = Bytes(blob)
    found = reader.open_toc(ranges, written.annotations)
    assert len(ranges.reads) == 1
    toc = found.verify(written.toc_digest)
    for item in ITEMS:
        record = toc.lookup(item.entry.name)
        data = reader.read_file(ranges, toc, record).read()
        assert data == content(item)
        assert record.size == item.entry.size


def test_plain_tar_view_stops_before_the_toc():
    blob, _ = write(ITEMS)
    with tarfile.open(fileobj=io.BytesIO(blob), mode="r:gz") as archive:
        names = archive.getnames()
        assert archive.extractfile("etc/big").read() == bytes(range(256)) * 50
    assert names == [".no.prefetch.landmark", *(item.entry.name for item in ITEMS)]


def test_own_tar_reader_gives_the_items_back():

    blob, _ = write(ITEMS)
    seen = {
        item.entry.name: (item.entry, content(item))
        for item in tar.read(io.BytesIO(gzip.decompress(blob)))
    }
    seen.pop(".no.prefetch.landmark")
    assert seen == {i.entry.name: (i.entry, content(i)) for i in ITEMS}


def test_hot_files_come_first_with_what_they_need():
    _, written = write(ITEMS, hot=["etc/hard", "nowhere"])
    toc = written.toc
    assert toc.paths[:4] == ("etc", "etc/a", "etc/hard", ".prefetch.landmark")
    assert toc.prefetch_end == toc.lookup(".prefetch.landmark").offset > 0
    assert written.missing == ("nowhere",)


@pytest.mark.parametrize("hot", [(), ("etc/big",)])
def test_same_bytes_for_any_thread_count(hot):
    many = [file(f"f{n}", bytes([n % 256]) * (n * 97)) for n in range(300)] + ITEMS
    blobs = {write(many, hot=hot, threads=threads)[0] for threads in (1, 2, 7)}
    assert len(blobs) == 1


@pytest.mark.parametrize("kind", list(Compression))
def test_every_format_is_the_same_tar_to_a_plain_unpacker(kind):
    blob, written = write(ITEMS, compression=kind, chunk_size=4096)
    stream = streams.decompress(io.BytesIO(blob))
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        seen = [(m.name, archive.extractfile(m).read() if m.isreg() else b"") for m in archive]
    expected = [(i.entry.name, content(i)) for i in ITEMS]
    assert [item for item in seen if not item[0].startswith(".no.")] == expected
    raw = streams.decompress(io.BytesIO(blob)).read()
    assert written.diff_id == "sha256:" + hashlib.sha256(raw).hexdigest()
    assert written.uncompressed_size == len(raw)
    assert written.digest == "sha256:" + hashlib.sha256(blob).hexdigest()
    assert written.size == len(blob)


@pytest.mark.parametrize("kind", [kind for kind in Compression if kind.lazy])
@pytest.mark.parametrize("hot", [(), ("etc/big", "etc/hard")])
def test_a_rewritten_layer_is_the_layer_written_from_its_items(kind, hot):
    blob, written = write(ITEMS, compression=kind, chunk_size=4096)
    out = io.BytesIO()
    options = WriterOptions(chunk_size=4096, threads=2)
    found = items.layer_items(Bytes(blob), written.toc)
    again = write_layer(found, out.write, hot=hot, options=options)
    direct, expected = write(ITEMS, hot=hot, chunk_size=4096)
    assert out.getvalue() == direct
    assert again.toc_digest == expected.toc_digest


def test_files_without_bytes_do_not_pile_up_in_one_member():
    """Headers of a million empty files were half a gigabyte; what they are in is bounded."""
    many = [file(f"{number:05}", b"") for number in range(20_000)]
    blob, written = write([*many, file("z", b"bytes")])
    sizes, left = [], blob
    while left:
        member = zlib.decompressobj(wbits=31)
        sizes.append(len(member.decompress(left)))
        left = member.unused_data
    assert sum(sizes) > 20_000 * 512
    assert max(sizes[:-2]) <= (4 << 20) + 512  # the last two are the TOC and the footer
    toc = reader.open_toc(Bytes(blob), written.annotations).verify(written.toc_digest)
    assert reader.read_file(Bytes(blob), toc, toc.lookup("z")).read() == b"bytes"
