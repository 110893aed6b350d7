import bz2
import gzip
import lzma
import os
import subprocess
import tarfile
import time

import pytest
from support.tars import device, directory, file, hardlink, symlink, tar
from support.trees import MemTree, content, copy, names, run

from lazybuild.errors import BuildError, IntegrityError
from lazybuild.estargz.entry import Kind
from lazybuild.estargz.streams import Caps
from lazybuild.llb.ops import FileAction, FileOp, Owner, User
from lazybuild.snapshots.archive import Rules
from lazybuild.snapshots.fileop import apply
from lazybuild.snapshots.hosttree import HostTree

PACKERS = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: (
        subprocess.run(["zstd", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    ),
}


def add(data, dest="/o/", base=None, **more):
    source = MemTree({"x.tar": data})
    return run(copy("/x.tar", dest, attempt_unpack=True, **more), source=source, base=base)


def only(items, name):
    return next(item.entry for item in items if item.entry.name == name)


@pytest.mark.parametrize("packer", PACKERS)
def test_archives_are_known_by_their_content(packer, tmp_path):
    if packer == "zstd":
        zstandard = pytest.importorskip("zstandard")
        packed = zstandard.ZstdCompressor().compress(tar([file("f", b"1" * 5000)]))
    else:
        packed = PACKERS[packer](tar([file("f", b"1" * 5000)]))
    (tmp_path / "x").write_bytes(packed)
    items = run(copy("/x", "/o", attempt_unpack=True), source=HostTree(tmp_path))
    assert content(items) == {"o/f": b"1" * 5000}


@pytest.mark.parametrize(
    "data", [b"", b"text", bytes(1024), gzip.compress(b"text", mtime=0), b"\x1f\x8bxx"]
)
def test_what_is_no_archive_is_copied(data):
    assert content(add(data)) == {"o/x.tar": data}


def test_many_files_and_their_bytes():
    entries = [file(f"d/{n}", bytes([n]) * (n * 700)) for n in range(50)]
    expected = {f"o/d/{n}": bytes([n]) * (n * 700) for n in range(50)}
    assert content(add(tar(entries))) == expected
    assert content(add(gzip.compress(tar(entries)))) == expected


def test_sparse_files(tmp_path):
    with (tmp_path / "s").open("wb") as out:
        out.write(b"head")
        out.seek(1 << 20)
        out.write(b"tail")
    for form in ("--posix", "--format=gnu"):
        subprocess.run(["tar", "-cSf", "x.tar", form, "s", "s"], cwd=tmp_path, check=True)
        items = run(copy("/x.tar", "/o", attempt_unpack=True), source=HostTree(tmp_path))
        assert content(items)["o/s"] == (tmp_path / "s").read_bytes()


def test_metadata_is_the_archive_s_and_chown_overrides_it():
    data = tar([directory("d", mode=0o701, uid=5), file("d/f", b"1", uid=6, gid=7, mtime=9)])
    items = add(data, mode=0o600)
    assert (only(items, "o/d").mode, only(items, "o/d").uid) == (0o701, 5)
    entry = only(items, "o/d/f")
    assert (entry.mode, entry.uid, entry.gid, entry.mtime) == (0o644, 6, 7, 9_000_000_000)
    items = add(data, owner=Owner(user=User(id=1)))
    assert {(item.entry.uid, item.entry.gid) for item in items} == {(1, 1)}


def test_the_destination_is_a_directory_even_without_a_slash():
    assert names(add(tar([file("f")]), dest="/o")) == ["o", "o/f"]


def test_a_later_entry_replaces_an_earlier_one_and_what_the_base_has():
    base = MemTree({"o/f/deep": b"", "o/g": b"old"})
    items = add(tar([file("f", b"1"), directory("g"), file("g/x")]), base=base)
    assert only(items, "o/f").kind is Kind.REG
    assert only(items, "o/g").kind is Kind.DIR
    items = add(tar([file("a", b"1"), file("a", b"22")]))
    assert content(items) == {"o/a": b"22"}


def test_directories_are_merged_with_the_base():
    items = add(tar([directory("d"), file("d/n")]), base=MemTree({"o/d/old": b""}))
    assert names(items) == ["o", "o/d", "o/d/n"]


def test_names_upwards_are_refused():
    for entry in (file("../x"), file("a/../../x"), hardlink("x", "../../etc/passwd")):
        with pytest.raises(IntegrityError):
            add(tar([entry]))


def test_links_lead_around_inside_of_the_destination():
    base = MemTree({"etc/passwd": b"root"})
    for target in ("/", "../../.."):
        items = add(tar([symlink("a", target), file("a/etc/passwd", b"x")]), base=base)
        assert content(items) == {"o/etc/passwd": b"x"}


def test_links_of_the_base_are_followed_inside():
    base = MemTree({"o/lib": "->usr/lib", "o/usr/lib": None})
    assert "o/usr/lib/f" in content(add(tar([file("lib/f", b"x")]), base=base))


def test_an_entry_under_a_file_replaces_it():
    assert content(add(tar([file("f", b"1"), file("f/x", b"2")]))) == {"o/f/x": b"2"}


def test_hard_links():
    items = add(tar([file("a", b"1"), hardlink("b", "a")]))
    assert (only(items, "o/b").kind, only(items, "o/b").link) == (Kind.HARDLINK, "o/a")
    for target in ("missing", "d"):
        with pytest.raises(BuildError, match="hard link"):
            add(tar([directory("d"), hardlink("b", target)]))


def test_a_hard_link_to_a_file_of_the_base_takes_it_along():
    items = add(tar([hardlink("b", "a")]), base=MemTree({"o/a": b"base"}))
    assert content(items) == {"o/a": b"base"}
    assert only(items, "o/b").link == "o/a"


def test_devices_stay_metadata_and_whiteouts_are_refused():
    items = add(tar([device("n", tarfile.CHRTYPE, 1, 3)]))
    assert (only(items, "o/n").kind, only(items, "o/n").minor) == (Kind.CHAR, 3)
    with pytest.raises(BuildError, match=r"\.wh\."):
        add(tar([file(".wh.etc")]))


def test_foreign_attributes_are_dropped():
    pax = {"SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.user.mine": "1"}
    assert dict(only(add(tar([file("f", pax_headers=pax)])), "o/f").xattrs) == {"user.mine": b"1"}


def test_a_broken_archive_is_an_error_and_not_a_file():
    with pytest.raises(IntegrityError):
        add(tar([file("f", b"x" * 5000)])[:2000])
    with pytest.raises(IntegrityError):
        add(gzip.compress(tar([file("f", os.urandom(100_000))]))[:-4000])


def test_a_bomb_is_stopped():
    bomb = gzip.compress(tar([file("f", bytes(8 << 20))]))
    action = copy("/x", "/o", attempt_unpack=True)
    op = FileOp(actions=(FileAction(action=action, secondary_input=0, output=0),))
    with pytest.raises(IntegrityError, match="times its packed size"):
        apply(op, [MemTree({"x": bomb})], rules=Rules(caps=Caps(free=1 << 20)))


def test_a_deep_directory_that_is_replaced():
    deep = "/".join(["d"] * 1500)
    assert content(add(tar([file(f"{deep}/f", b"1"), file("d", b"2")]))) == {"o/d": b"2"}


def test_thirty_thousand_names_in_one_directory():
    base = MemTree({})
    source = MemTree({"x.tar": tar([file(f"n{n}") for n in range(30_000)], tarfile.USTAR_FORMAT)})
    start = time.monotonic()
    items = run(copy("/x.tar", "/o", attempt_unpack=True), source=source, base=base)
    assert len(items) == 30_001
    assert time.monotonic() - start < 20
