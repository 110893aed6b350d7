"""What is taken over from an earlier layer: fewer reads and less work, and never another byte."""

import hashlib
import io
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.layers import Bytes, file, folder, link

from lazybuild.estargz import codec, reader, writer
from lazybuild.estargz.earlier import Earlier
from lazybuild.estargz.entry import Item
from lazybuild.estargz.writer import Compression, WriterOptions, made_by, write_layer
from lazybuild.oci.digest import of

FILES = [folder("d"), *(file(f"d/{n:03}", b"%d;" % n * 400) for n in range(120))]


def known(item):
    """The item as a tree has it: its digest can be had without its bytes."""
    if item.open is None:
        return item
    data = item.open().read()
    return replace(item, digest=lambda: "sha256:" + hashlib.sha256(data).hexdigest())


def unread(item):
    def refuse():
        raise AssertionError(f"{item.entry.name} was read")

    return replace(known(item), open=refuse if item.open else None)


def written(items, earlier=None, **options):
    out = io.BytesIO()
    hot = options.pop("hot", ())
    options = WriterOptions(**options)
    done = write_layer(items, out.write, hot=hot, options=options, earlier=earlier)
    return out.getvalue(), done


def earlier(items, *, blob=None, hot=(), digest="", **options):
    made, done = written(items, hot=hot, **options)
    toc = reader.open_toc(Bytes(made), done.annotations).verify(done.toc_digest)
    digest = digest or of(blob or made)
    return Earlier(Bytes(blob or made), toc, made_by(WriterOptions(**options)), digest)


def test_unchanged_files_are_neither_read_nor_compressed_again(monkeypatch):
    fresh = written(FILES)[0]
    before, packed = earlier(FILES), []
    compress = codec.compressor("gzip:6")
    counted = lambda name: lambda data: packed.append(data) or compress(data)  # noqa: E731
    monkeypatch.setattr(writer, "compressor", counted)
    assert written([unread(item) for item in FILES], before)[0] == fresh
    assert len(packed) == 2  # what stands before the first file: the landmark, and its own piece
    changed = [*FILES[:50], file("d/049", b"other"), *FILES[51:]]
    del packed[:]
    blob, _ = written([i if i.entry.size == 5 else unread(i) for i in changed], before)
    assert blob == written(changed)[0]


@pytest.mark.parametrize("hot", [(), ("d/100", "d/007")])
@pytest.mark.parametrize("threads", [1, 3])
def test_an_order_or_a_neighbour_that_changed_changes_no_byte(hot, threads):
    other = [item for n, item in enumerate(FILES) if n % 7]
    other = [replace(i, entry=replace(i.entry, mode=0o600)) if n % 5 == 0 else i
             for n, i in enumerate(other)]  # fmt: skip
    for before in (earlier(FILES), earlier(FILES, hot=("d/003",))):
        blob, _ = written([*map(known, other)], before, hot=hot, threads=threads)
        assert blob == written(other, hot=hot)[0]


def test_the_blob_is_checked_once_and_only_if_something_would_be_taken():
    before, read = earlier(FILES, digest=of(b"another blob")), []
    other = [file("d/000", b"other")]
    assert written([*map(known, other)], before)[0] == written(other)[0]
    assert before._ranges.reads == []
    watched = [replace(known(i), open=lambda i=i: read.append(1) or i.open()) if i.open else i
               for i in FILES]  # fmt: skip
    assert written(watched, before)[0] == written(FILES)[0]
    assert (before._ranges.reads, len(read)) == ([(0, before._ranges.size)], 120)


def test_bytes_that_are_no_members_are_passed_over():
    fresh = written(FILES)[0]
    for damaged in (fresh[:3000] + bytes(len(fresh) - 3000), fresh[::-1], b"\xff" * len(fresh)):
        assert written([*map(known, FILES)], earlier(FILES, blob=damaged))[0] == fresh


def test_a_digest_is_only_believed_of_bytes_that_have_it():
    """Members of another layer at the same places: valid ones, with a wrong payload."""
    twin = [replace(i, open=lambda i=i: io.BytesIO(i.open().read().swapcase().replace(b";", b":")))
            if i.open else i for i in FILES]  # fmt: skip
    blob = written(twin)[0]
    assert len(blob) == len(written(FILES)[0])
    assert written([*map(known, FILES)], earlier(FILES, blob=blob))[0] == written(FILES)[0]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"level": 9}, {}),
        ({}, {"level": 9}),
        ({"level": 1}, {"level": 1}),
        ({}, {"compression": Compression.ZSTD_CHUNKED}),
        ({}, {"compression": Compression.PODMAN}),
        ({}, {"chunk_size": 300}),
        ({"chunk_size": 300}, {}),
    ],
)
def test_members_of_another_make_are_of_no_use(before, now):
    blob, _ = written([*map(known, FILES)], earlier(FILES, **before), **now)
    assert blob == written(FILES, **now)[0]


def test_only_what_hangs_on_input_alone_is_of_a_make():
    assert made_by(WriterOptions()).startswith("gzip:6 deflate ")
    assert made_by(WriterOptions(level=1)) == ""
    assert made_by(WriterOptions(compression=Compression.GZIP)) == ""


NAMES = st.lists(st.integers(0, 30), unique=True, min_size=1, max_size=30)
SIZES = st.sampled_from([0, 1, 511, 512, 513, 4000])


def layer_of(numbers, size, step):
    made = [file(f"f{n:02}", bytes([n]) * (size + n % step)) for n in sorted(numbers)]
    return [*made, link("s", "f00"), *([link("h", f"f{min(numbers):02}", hard=True)])]


@given(NAMES, NAMES, SIZES, SIZES)
@settings(deadline=None, max_examples=60)
def test_any_two_layers(before, now, size, other):
    items: list[Item] = layer_of(now, size, 3)
    blob, done = written([*map(known, items)], earlier(layer_of(before, other, 2)))
    assert (blob, done) == written(items)
