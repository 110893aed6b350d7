"""What a TOC means as inodes, and which TOCs mean nothing."""

import stat
import struct

import pytest

from lazybuild.errors import IntegrityError
from lazybuild.estargz.toc import TocEntry
from lazybuild.snapshots.lazyfs.build import TreeBuilder
from lazybuild.snapshots.lazyfs.tree import ROOT, Piece

DIGEST = "sha256:" + "ab" * 32
END = 1 << 40


def reg(name, size=0, offset=0, **more):
    digest = {"chunk_digest": DIGEST} if size else {}
    return TocEntry(name=name, type="reg", size=size, offset=offset, **{**digest, **more})


def folder(name, **more):
    return TocEntry(name=name, type="dir", mode=more.pop("mode", 0o755), **more)


def chunk(name, offset, position, size=0):
    return TocEntry(
        name=name, type="chunk", offset=offset, chunk_offset=position, chunk_size=size,
        chunk_digest=DIGEST,
    )  # fmt: skip


def hard(name, target):
    return TocEntry(name=name, type="hardlink", link_name=target)


def tree(*records, end=END):
    builder = TreeBuilder(data_end=end)
    builder.add(records)
    return builder.finish()


def names(found, path=b""):
    return [name for _, name, _ in found.children(found.find(path))]


def attributes(found, path):
    ino = found.find(path)
    assert ino, path
    return found.attributes(ino)


def test_parents_that_are_missing_are_made_up():
    found = tree(reg("a/b/c", mode=0o600))
    assert stat.S_IMODE(attributes(found, b"a/b").mode) == 0o755
    assert attributes(found, b"a").nlink == 3
    assert found.path(found.find(b"a/b/c")) == b"a/b/c"


def test_a_directory_named_late_keeps_its_children():
    found = tree(reg("a/x"), folder("a/", mode=0o700, uid=5))
    assert attributes(found, b"a").uid == 5
    assert names(found, b"a") == [b"x"]


def test_names_are_cleaned():
    found = tree(folder("./"), folder("./etc/"), reg("./etc/passwd"), reg("/abs"))
    assert names(found) == [b"abs", b"etc"]


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a\0b", "x" * 256, "d/" * 2100 + "f"])
def test_names_no_kernel_holds_are_refused(name):
    with pytest.raises(IntegrityError):
        tree(reg(name))


def test_the_last_of_two_wins():
    found = tree(reg("f", mode=0o600), reg("f", mode=0o644))
    assert stat.S_IMODE(attributes(found, b"f").mode) == 0o644
    assert names(found) == [b"f"]


def test_a_file_takes_the_place_of_a_directory_and_the_other_way_round():
    assert names(tree(reg("d/a/b"), reg("d"))) == [b"d"]
    found = tree(reg("d"), reg("d/x"))
    assert stat.S_ISDIR(attributes(found, b"d").mode)
    assert names(tree(reg("d/old"), reg("d"), folder("d/")), b"d") == []


def test_hard_links_are_one_inode():
    found = tree(reg("a", 3), hard("b", "a"), hard("c", "b"))
    assert found.find(b"a") == found.find(b"b") == found.find(b"c")
    assert attributes(found, b"a").nlink == 3


def test_hard_links_may_come_before_their_target():
    found = tree(hard("a", "b"), hard("b", "c"), reg("c"))
    assert found.find(b"a") == found.find(b"c")
    assert attributes(found, b"b").nlink == 3


@pytest.mark.parametrize(
    "records",
    [
        [hard("a", "nowhere")],
        [hard("a", "b"), hard("b", "a")],
        [hard("a", "a")],
        [folder("d"), hard("a", "d")],
        [hard("a", "../b")],
    ],
)
def test_hard_links_to_nothing_are_refused(records):
    with pytest.raises(IntegrityError):
        tree(*records)


def test_symlinks_have_the_size_of_their_target():
    found = tree(TocEntry(name="l", type="symlink", link_name="tä/rget"))
    assert attributes(found, b"l").size == 8
    assert found.link(found.find(b"l")) == "tä/rget".encode()
    assert found.link(ROOT) == b""


def test_whiteouts_are_devices_and_opaque_directories_are_marked():
    found = tree(reg("d/.wh..wh..opq"), reg(".wh.gone"), reg("d/.wh.x"))
    assert attributes(found, b"gone").mode == stat.S_IFCHR
    assert attributes(found, b"gone").rdev == 0
    assert found.xattrs(found.find(b"d")) == {b"user.overlay.opaque": b"y"}
    assert names(found, b"d") == [b"x"]


def test_a_whiteout_does_not_hide_what_its_own_layer_brings():
    found = tree(reg("f"), reg(".wh.f"), reg(".wh.d"), folder("d"))
    assert stat.S_ISREG(attributes(found, b"f").mode)
    assert found.xattrs(found.find(b"d")) == {b"user.overlay.opaque": b"y"}


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", ".wh..wh.plnk"])
def test_whiteouts_that_name_nothing_hide_nothing(name):
    assert names(tree(reg(f"d/{name}")), b"d") == []


def test_our_own_files_are_hidden_at_the_root_only():
    found = tree(
        reg(".prefetch.landmark", 1, 99),
        reg("stargz.index.json", 5, 10),
        reg("d/stargz.index.json"),
    )
    assert names(found) == [b"d"]
    assert names(found, b"d") == [b"stargz.index.json"]
    assert found.landmark == 99
    assert len(found.chunks) == 0


def test_devices():
    found = tree(
        TocEntry(name="sda", type="block", dev_major=8, dev_minor=300),
        TocEntry(name="p", type="fifo", mode=0o622),
    )
    assert attributes(found, b"sda").rdev == (300 & 0xFF) | 8 << 8 | (300 & ~0xFF) << 12
    assert attributes(found, b"p").mode == stat.S_IFIFO | 0o622


def test_attributes_of_overlay_are_dropped_and_capabilities_lose_their_namespace():
    v3 = struct.pack("<I5I", 0x03000001, 1, 2, 3, 4, 1000)
    found = tree(
        reg(
            "f",
            xattrs={
                "user.overlay.redirect": b"/x", "trusted.overlay.opaque": b"y",
                "security.capability": v3, "user.own": b"1",
            },
        )
    )  # fmt: skip
    assert found.xattrs(found.find(b"f")) == {
        b"security.capability": struct.pack("<I4I", 0x02000001, 1, 2, 3, 4), b"user.own": b"1",
    }  # fmt: skip
    assert found.has_xattrs


def test_pieces_of_a_file_of_three_chunks():
    found = tree(
        reg("f", 25, 100, chunk_size=10), chunk("f", 200, 10, 10), chunk("f", 300, 20),
        end=400,
    )  # fmt: skip
    ino = found.find(b"f")
    assert found.pieces(ino, 0, 5) == [Piece(0, 0, 5)]
    assert found.pieces(ino, 8, 100) == [Piece(0, 8, 10), Piece(1, 0, 10), Piece(2, 0, 5)]
    assert found.pieces(ino, 10, 10) == [Piece(1, 0, 10)]
    assert found.pieces(ino, 25, 1) == []
    assert [found.chunks.end[i] for i in range(3)] == [200, 300, 400]


def test_members_end_where_the_next_begins_in_any_order():
    found = tree(reg("z", 9, 500), reg("a", 9, 100), reg("m", 9, 300), end=600)
    assert list(found.chunks.end) == [600, 300, 500]


@pytest.mark.parametrize(
    "records",
    [
        [chunk("f", 0, 0)],
        [reg("f", 10, 0, chunk_size=4), chunk("f", 5, 5)],
        [reg("f", 10, 0, chunk_size=4)],
        [reg("f", 10, 0, chunk_size=4), chunk("f", 5, 4, 7)],
        [reg("f", 10, 0, chunk_size=4), chunk("g", 5, 4)],
        [reg("f", 10, END)],
        [reg("f", 10, -1)],
        [reg("f", -1)],
        [reg("f", 1 << 62)],
        [reg("f", 10, 0, chunk_digest="")],
        [reg("f", 10, 0, chunk_digest="sha256:" + "x" * 64)],
        [reg("f", 10, 0, inner_offset=-1)],
        [reg("f", uid=2**32 - 1)],
        [reg("f", gid=-1)],
        [reg("f", modtime="yesterday")],
        [TocEntry(name="f", type="socket")],
        [TocEntry(name="f", type="char", dev_major=-1)],
        [TocEntry(name="l", type="symlink", link_name="")],
        [TocEntry(name="l", type="symlink", link_name="x" * 4096)],
        [reg("/", 3)],
    ],
)
def test_what_no_honest_writer_makes_is_refused(records):
    with pytest.raises(IntegrityError):
        tree(*records)


def test_times_before_and_after_the_epoch():
    found = tree(
        reg("a", modtime="1970-01-01T00:00:01.5Z"), reg("b", modtime="1969-12-31T23:59:59Z")
    )
    assert attributes(found, b"a").mtime == 1_500_000_000
    assert attributes(found, b"b").mtime == -1_000_000_000


def test_children_go_on_from_where_they_ended():
    found = tree(*(reg(f"f{n:03}") for n in range(10)))
    assert [name for _, name, _ in found.children(ROOT, 7)] == [b"f007", b"f008", b"f009"]
    assert found.lookup(ROOT, b"f00") == 0
    assert found.lookup(found.find(b"f001"), b"x") == 0


def test_the_same_toc_gives_the_same_inodes():
    records = [reg("a/b"), folder("c"), hard("d", "a/b")]
    one, two = tree(*records), tree(*records)
    assert [one.find(p) for p in (b"a/b", b"c", b"d")] == [
        two.find(p) for p in (b"a/b", b"c", b"d")
    ]
