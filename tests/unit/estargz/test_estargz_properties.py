"""Whatever is written is what is read: lazily, by the own tar reader and by Python's tarfile."""

import io
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import items
from support.layers import Bytes, content, file, folder, link, write

from lazybuild.errors import BuildError, IntegrityError
from lazybuild.estargz import reader, streams, tar
from lazybuild.estargz.entry import Entry, Item, Kind
from lazybuild.estargz.tail import Compression
from lazybuild.estargz.toc import parse
from lazybuild.estargz.writer import NotUtf8Error, WriterOptions, write_layer, write_plain

LAZY = [kind for kind in Compression if kind.lazy]
CHUNK = 64

parts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=40
).filter(lambda part: part not in (".", ".."))
paths = st.one_of(
    st.lists(parts, min_size=1, max_size=3).map("/".join),
    st.integers(90, 270).map(
        lambda length: "/".join(["p" * 60] * 4 + ["x" * 99])[:length].strip("/")
    ),
)
xattrs = st.dictionaries(
    st.sampled_from(["user.a", "user.b\u00e9", "security.capability"]), st.binary(max_size=30)
)
meta = st.fixed_dictionaries(
    {
        "mode": st.integers(0, 0o7777),
        "uid": st.integers(0, 2**32 - 2),
        "gid": st.integers(0, 2**32 - 2),
        "mtime": st.integers(0, 8**11 - 1).map(lambda seconds: seconds * 10**9),
        "xattrs": xattrs,
    }
)
sizes = st.sampled_from([0, 1, 63, 64, 65, 128, 129, 511, 512, 513, 2000])


@st.composite
def layers(draw):
    """Items with unique names, parents before children, no entry below a file."""
    found, folders = {}, set()
    for path in draw(st.lists(paths, max_size=12, unique=True)):
        try:
            names = path.split("/")
            above = {"/".join(names[:count]) for count in range(1, len(names))}
            if above & (found.keys() - folders) or path in folders or not path:
                continue
            if any(len(part.encode()) > 255 for part in names):
                continue
        finally:
            fields = draw(meta)
        folders |= above
        for name in sorted(above - found.keys()):
            found[name] = folder(name)
        found[path] = draw(one(path, fields, [n for n in found if n not in folders]))
    return list(found.values())


def one(path, fields, others):
    made = [
        st.builds(
            lambda data, size: file(path, data[:1] * size, **fields), st.binary(min_size=1), sizes
        ),
        st.just(Item(Entry(name=path, kind=Kind.FIFO, **fields))),
        st.just(Item(Entry(name=path, kind=Kind.CHAR, major=5, minor=70000, **fields))),
        st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
            min_size=1,
            max_size=300,
        ).map(lambda to: link(path, to)),
    ]
    if others:
        made.append(st.sampled_from(others).map(lambda to: link(path, to, hard=True)))
    return st.one_of(made)


def told(found):
    return [
        (item.entry, content(item)) for item in found if not item.entry.name.endswith(".landmark")
    ]


def by_tarfile(raw):
    """The same from Python's reader, as far as it tells the same."""
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:", encoding="utf-8") as archive:
        for member in archive:
            data = archive.extractfile(member).read() if member.isreg() else b""
            if not member.name.endswith(".landmark"):
                yield member.name, member.mode, member.uid, member.gid, int(member.mtime), data


QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(layers(), st.sampled_from(LAZY), st.data())
def test_lazy_view_equals_items_equals_tar_view(found, kind, data):
    hot = (
        data.draw(st.lists(st.sampled_from([i.entry.name for i in found]), max_size=4))
        if found
        else []
    )
    blob, written = write(found, hot=hot, compression=kind, chunk_size=CHUNK)
    ranges = Bytes(blob)
    toc = reader.open_toc(ranges, written.annotations).verify(written.toc_digest)
    lazy = told(items.layer_items(ranges, toc))
    if not hot:
        assert lazy == told(found)
    assert {e.name: (e, d) for e, d in lazy} == {e.name: (e, d) for e, d in told(found)}
    raw = streams.decompress(io.BytesIO(blob)).read()
    assert told(tar.read(io.BytesIO(raw))) == lazy
    expected = [
        (e.name, e.mode, e.uid, e.gid, e.mtime // 10**9, d if e.kind is Kind.REG else b"")
        for e, d in lazy
    ]
    assert list(by_tarfile(raw)) == expected


@QUICK
@given(st.binary(max_size=2000))
def test_any_bytes_are_an_archive_or_an_integrity_error(data):
    try:
        told(tar.read(io.BytesIO(data)))
    except IntegrityError:
        return


@QUICK
@given(layers(), st.integers(0, 4000), st.binary(min_size=1, max_size=8))
def test_a_damaged_archive_never_does_worse_than_an_error(found, at, junk):
    out = io.BytesIO()
    write_plain(found, out.write, options=WriterOptions(compression=Compression.NONE, threads=1))
    data = bytearray(out.getvalue())
    at = at % len(data)
    data[at : at + len(junk)] = junk
    try:
        told(tar.read(io.BytesIO(bytes(data))))
    except IntegrityError:
        return


@QUICK
@given(layers(), st.integers(0, 10**6), st.integers(0, 255))
def test_a_damaged_blob_is_refused_or_the_same(found, at, value):
    blob, written = write(found, chunk_size=CHUNK)
    broken = bytearray(blob)
    broken[at % len(broken)] = value
    ranges = Bytes(bytes(broken))
    try:
        opened = reader.open_toc(ranges, written.annotations)
        seen = (
            told(items.layer_items(ranges, opened.verify(written.toc_digest))) if opened else None
        )
    except IntegrityError:
        return
    assert seen is None or seen == told(found)


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 512, 513]
)
def test_chunk_sizes_are_what_go_writes(size):
    _, written = write([file("a", b"x" * size)], chunk_size=CHUNK)
    records = [e for e in parse(written.found.raw) if e.name == "a"]
    if size <= CHUNK:
        assert [r.chunk_size for r in records] == [0]
    else:
        full, short = divmod(size, CHUNK)
        assert [r.chunk_size for r in records] == [CHUNK] * full + [0] * bool(short)
    assert records[0].digest.startswith("sha256:")
    assert bool(records[0].chunk_digest) == bool(size)


@pytest.mark.parametrize(
    "item",
    [
        file("a\udcff"),
        link("a", "\udcfe"),
        file("a", xattrs={"user.\udcff": b""}),
    ],
)
def test_what_is_not_utf8_is_refused_before_output_and_fits_plain_layers(item):
    out = io.BytesIO()
    with pytest.raises(NotUtf8Error) as caught:
        write_layer([file("first", b"x"), item], out.write, options=WriterOptions(threads=1))
    assert out.getvalue() == b""
    assert caught.value.name == item.entry.name
    written = write_plain([item], out.write)
    assert written.media_type.endswith("tar+gzip")
    assert told(tar.read(streams.decompress(io.BytesIO(out.getvalue())))) == told([item])


def test_a_hard_link_before_its_target():
    with pytest.raises(BuildError, match="before its target"):
        write([link("h", "a", hard=True), file("a", b"x")])
    _, written = write([link("h", "a", hard=True), file("a", b"x"), file("b", b"y")], hot=["b"])
    assert written.toc.paths == ("b", ".prefetch.landmark", "a", "h")


def test_a_file_that_shrinks_while_it_is_read():
    item = file("a", b"xyz")
    short = Item(Entry(name="a", kind=Kind.REG, size=9), item.open)
    with pytest.raises(BuildError, match="shorter"):
        write([short])


def test_a_failing_source_stops_the_threads():
    def broken():
        yield file("a", b"x")
        raise OSError(5, "disk")

    with pytest.raises(OSError, match="disk"):
        write(broken(), threads=3)


def test_epoch_clamps_times():
    blob, written = write([file("old", mtime=5 * 10**9), file("new", mtime=99 * 10**9)], epoch=7)
    times = {e.name: e.mtime for e, _ in told(items.layer_items(Bytes(blob), written.toc))}
    assert times == {"old": 5 * 10**9, "new": 7 * 10**9}


def test_landmarks_and_tocs_of_the_input_are_dropped():
    own = [file(".prefetch.landmark", b"\x0f"), file("stargz.index.json", b"{}"), file("a", b"x")]
    for hot in ([], ["a"]):
        _, written = write(own, hot=hot)
        assert sorted(p for p in written.toc.paths if not p.endswith("landmark")) == ["a"]


def test_whiteouts_are_entries_like_any():
    whiteouts = [folder("d"), file("d/.wh..wh..opq"), file("d/.wh.gone")]
    _, written = write(whiteouts)
    assert written.toc.paths[1:] == ("d", "d/.wh..wh..opq", "d/.wh.gone")


def test_of_duplicate_names_the_last_counts_in_both_views():
    twice = [file("a", b"1"), file("b", b"2"), file("a", b"3")]
    blob, written = write(twice)
    lazy = {e.name: d for e, d in told(items.layer_items(Bytes(blob), written.toc))}
    eager = {e.name: d for e, d in told(tar.read(streams.decompress(io.BytesIO(blob))))}
    assert lazy == eager == {"a": b"3", "b": b"2"}
