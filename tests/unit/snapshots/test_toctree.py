import io

import pytest
from support.trees import MemTree, content, copy, names, run

from lazybuild.errors import BuildError, IntegrityError
from lazybuild.estargz.entry import Entry, Item, Kind
from lazybuild.estargz.reader import open_toc, read_chunk
from lazybuild.estargz.writer import WriterOptions, write_layer
from lazybuild.snapshots.contenthash import Selection, content_digest
from lazybuild.snapshots.diff import layer_items
from lazybuild.snapshots.merged import MergedTree
from lazybuild.snapshots.toctree import TocTree
from lazybuild.snapshots.tree import walk

BIG = bytes(range(256)) * 40


class Blob:
    """A layer in memory that counts the chunks which are asked for."""

    def __init__(self, *items, chunk_size=1000):
        out = io.BytesIO()
        self.written = write_layer(
            list(items), out.write, options=WriterOptions(chunk_size=chunk_size)
        )
        self.data = out.getvalue()
        self.read = []

    size = property(lambda self: len(self.data))

    def read_at(self, offset, length):
        return self.data[offset : offset + length]

    def chunk(self, chunk):
        self.read.append(chunk)
        return read_chunk(self, chunk)

    def tree(self):
        toc = open_toc(self, self.written.annotations).verify(self.written.toc_digest)
        return TocTree(toc, self.chunk)


def item(name, data=None, kind=Kind.REG, **more):
    if data is None:
        return Item(Entry(name=name, kind=kind, **more))
    return Item(Entry(name=name, kind=kind, size=len(data), **more), lambda: io.BytesIO(data))


@pytest.fixture
def blob():
    return Blob(
        item("a/b/f", BIG, mode=0o640, uid=3, gid=4, mtime=5_000_000_000),
        item("a/link", kind=Kind.SYMLINK, link="b"),
        item("a/z", kind=Kind.HARDLINK, link="a/b/f"),
        item("d", kind=Kind.DIR, mode=0o711, uid=9),
        item("d/.wh.gone"),
        item("o", kind=Kind.DIR),
        item("o/.wh..wh..opq"),
        item("small", b"12345"),
    )


def test_what_the_toc_says(blob):
    tree = blob.tree()
    node = tree.lookup("a/b/f")
    assert (node.kind, node.mode, node.uid, node.gid, node.size) == (Kind.REG, 0o640, 3, 4, 10240)
    assert tree.lookup("a/z").identity == node.identity is not None
    assert tree.lookup("a/z").size == 10240
    assert tree.lookup("small").identity is None
    assert tree.lookup("a/link").link == "b"
    assert tree.lookup("a").kind is Kind.DIR
    assert tree.children("") == ["a", "d", "o", "small"]
    assert tree.whiteouts("d") == {"gone"}
    assert (tree.opaque("o"), tree.opaque("d")) == (True, False)
    assert tree.lookup(".no.prefetch.landmark") is None
    assert tree.lookup("d/.wh.gone") is None


def test_hashing_costs_no_byte(blob):
    tree = blob.tree()
    twin = MemTree({"x": BIG})
    assert tree.digest("a/b/f") == tree.digest("a/z") == twin.digest("x")
    assert content_digest(tree, Selection(path="a"))
    assert blob.read == []


def test_reading_takes_only_what_is_read(blob):
    tree = blob.tree()
    with tree.open("a/z") as stream:
        assert stream.read(10) == BIG[:10]
    assert len(blob.read) < 11
    with tree.open("a/b/f") as stream:
        assert stream.read() == BIG
        stream.seek(5000)
        assert stream.read(3) == BIG[5000:5003]
    blob.read.clear()
    with tree.open("small") as stream:
        assert stream.read() == b"12345"
    assert len(blob.read) == 1


def test_copy_from_a_lazy_stage_reads_just_the_file(blob):
    tree = MergedTree([blob.tree()])
    items = run(copy("/small", "/bin/"), source=tree)
    assert blob.read == []
    assert content(items) == {"bin/small": b"12345"}
    assert len(blob.read) == 1


def test_a_layer_comes_back_as_it_was(blob):
    again = Blob(*layer_items(blob.tree(), print))
    assert names(layer_items(again.tree(), print)) == names(layer_items(blob.tree(), print))
    assert "o/.wh..wh..opq" in names(layer_items(again.tree(), print))
    assert content_digest(again.tree(), Selection(path="")) == content_digest(
        blob.tree(), Selection(path="")
    )


def test_what_is_no_file_can_t_be_opened(blob):
    for path in ("a", "a/link", "none", "d/.wh.gone"):
        with pytest.raises(BuildError):
            blob.tree().open(path)


def test_broken_bytes_are_noticed(blob):
    tree = blob.tree()
    blob.data = b"\0" * len(blob.data)
    with pytest.raises(IntegrityError), tree.open("small") as stream:
        stream.read()


def test_names_below_a_whiteout_mark_are_not_there():
    tree = Blob(item(".wh.x/y", b"1"), item("f", b"2")).tree()
    assert [path for path, _ in walk(tree)] == ["", "f"]


def test_layers_over_one_another():
    low = Blob(item("a/x", b"1"), item("a/gone", b"1"), item("o/old", b"1"), item("f/x", b"1"))
    high = Blob(item("a/y", b"2"), item("a/.wh.gone"), item("o", kind=Kind.DIR),
                item("o/.wh..wh..opq"), item("f", b"2"))  # fmt: skip
    tree = MergedTree([low.tree(), high.tree()])
    assert [path for path, _ in walk(tree)] == ["", "a", "a/x", "a/y", "f", "o"]
    assert tree.lookup("f/x") is None
    assert tree.lookup("a/gone") is None
    with pytest.raises(BuildError):
        tree.open("a/gone")
