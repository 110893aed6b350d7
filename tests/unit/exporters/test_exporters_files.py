"""The files of an image, as an archive and under a directory that may be hostile, too."""

import io
import os
import stat
import tarfile
from dataclasses import replace

import pytest

from lazybuild.errors import BuildError, IntegrityError, UsageError
from lazybuild.estargz.entry import Kind
from lazybuild.exporters import local, rootfs
from lazybuild.snapshots.tree import Node


class FakeTree:
    """A tree from a dictionary of names to (node, bytes)."""

    def __init__(self, files):
        self.files = {"": (Node(kind=Kind.DIR, mode=0o755), b""), **files}

    def lookup(self, path):
        return self.files.get(path, (None, b""))[0]

    def children(self, path):
        lead = f"{path}/" if path else ""
        found = {name.removeprefix(lead) for name in self.files if name.startswith(lead) and name}
        return sorted(name for name in found if "/" not in name)

    def open(self, path):
        return io.BytesIO(self.files[path][1])

    def digest(self, path):
        raise AssertionError(path)


def reg(data=b"", **fields):
    return Node(kind=Kind.REG, **{"mode": 0o644, "size": len(data)} | fields), data


def directory(**fields):
    return Node(kind=Kind.DIR, **{"mode": 0o755} | fields), b""


def node(kind, **fields):
    return Node(kind=kind, **{"mode": 0o644} | fields), b""


SECOND = 1_000_000_000
TREE = FakeTree(
    {
        "bin": directory(mtime=7 * SECOND),
        "bin/sh": reg(b"#!", mode=0o4755, uid=1000, gid=70_000, mtime=5 * SECOND, identity="i"),
        "bin/sh2": reg(b"#!", mode=0o4755, uid=1000, gid=70_000, mtime=5 * SECOND, identity="i"),
        "dev": directory(),
        "dev/null": node(Kind.CHAR, major=1, minor=3),
        "etc": directory(mode=0o555, mtime=3 * SECOND),
        "etc/\udcff": reg(b"x" * 3000, xattrs={"user.a": b"\0b"}),
        "etc/fifo": node(Kind.FIFO),
        "etc/link": node(Kind.SYMLINK, link="../../../outside", mode=0o777),
    }
)


def written(tree, **options):
    out = io.BytesIO()
    rootfs.export(tree, out, **options)
    return out.getvalue()


def test_the_archive_holds_what_a_container_sees():
    with tarfile.open(fileobj=io.BytesIO(written(TREE))) as archive:
        found = {info.name: info for info in archive}
        data = archive.extractfile("etc/\udcff").read()
    assert list(found) == sorted(name for name in TREE.files if name)
    shell = found["bin/sh"]
    assert (shell.mode, shell.uid, shell.gid, shell.mtime) == (0o4755, 1000, 70_000, 5)
    assert (found["bin/sh2"].islnk(), found["bin/sh2"].linkname) == (True, "bin/sh")
    assert (found["dev/null"].ischr(), found["dev/null"].devmajor) == (True, 1)
    assert found["etc/link"].linkname == "../../../outside"
    assert found["etc/fifo"].isfifo()
    assert data == b"x" * 3000
    assert found["etc/\udcff"].pax_headers["SCHILY.xattr.user.a"] == "\0b"


def test_the_archive_is_deterministic_and_clamped():
    assert written(TREE) == written(TREE)
    with tarfile.open(fileobj=io.BytesIO(written(TREE, epoch=4))) as archive:
        assert {info.name: info.mtime for info in archive}["bin/sh"] == 4
        assert archive.getmember("etc").mtime == 3


def test_a_short_file_is_an_error_not_a_broken_archive():
    short = FakeTree({"a": (reg(b"xx")[0], b"x")})
    with pytest.raises(IntegrityError, match="1 bytes early"):
        written(short)


def test_files_below_a_directory(tmp_path):
    dest = tmp_path / "a" / "dest"
    assert local.export(TREE, dest, epoch=6) == ("dev/null",)
    shell = (dest / "bin" / "sh").stat()
    assert stat.S_IMODE(shell.st_mode) == 0o755, "setuid must not survive a change of owner"
    assert (shell.st_uid, shell.st_mtime_ns) == (os.geteuid(), 5 * SECOND)
    assert (dest / "bin" / "sh2").stat().st_ino == shell.st_ino
    assert (dest / "bin").stat().st_mtime_ns == 6 * SECOND
    assert stat.S_IMODE((dest / "etc").stat().st_mode) == 0o555
    assert (dest / "etc").stat().st_mtime_ns == 3 * SECOND
    assert (dest / "etc" / "\udcff").read_bytes() == b"x" * 3000
    assert os.readlink(dest / "etc" / "link") == "../../../outside"
    assert (dest / "etc" / "fifo").is_fifo()
    assert not (dest / "dev" / "null").exists()


def test_a_second_export_replaces_the_first(tmp_path):
    local.export(TREE, tmp_path / "d")
    (tmp_path / "d" / "mine").touch()
    changed = FakeTree(TREE.files | {"bin/sh": reg(b"new")})
    local.export(changed, tmp_path / "d")
    assert (tmp_path / "d" / "bin" / "sh").read_bytes() == b"new"
    assert (tmp_path / "d" / "bin" / "sh2").read_bytes() == b"#!"
    assert (tmp_path / "d" / "mine").exists()


def test_links_at_the_destination_are_replaced_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "sh").write_text("canary")
    dest = tmp_path / "dest"
    (dest / "etc").mkdir(parents=True)
    (dest / "bin").symlink_to(outside)
    (dest / "etc" / "link").symlink_to(outside / "sh")
    (dest / "etc" / "\udcff").symlink_to(outside / "sh")
    (dest / "etc" / "fifo").symlink_to(outside / "new")
    local.export(TREE, dest)
    assert (outside / "sh").read_text() == "canary"
    assert os.listdir(outside) == ["sh"]
    assert (dest / "bin").is_dir()
    assert not (dest / "bin").is_symlink()


def test_a_file_over_a_hard_link_does_not_write_through_it(tmp_path):
    (tmp_path / "dest" / "bin").mkdir(parents=True)
    (tmp_path / "victim").write_text("canary")
    os.link(tmp_path / "victim", tmp_path / "dest" / "bin" / "sh")
    local.export(TREE, tmp_path / "dest")
    assert (tmp_path / "victim").read_text() == "canary"


@pytest.mark.parametrize("target", ["/", "..", "../outside", "."])
def test_links_of_the_image_lead_nowhere(tmp_path, target):
    """A tree that shows children below a link is a lie, but must not get out."""
    outside = tmp_path / "outside"
    outside.mkdir()
    files = {"a": node(Kind.SYMLINK, mode=0o777, link=target), "a/x": reg(b"evil")}

    class Liar(FakeTree):
        def lookup(self, path):
            found = super().lookup(path)
            return replace(found, kind=Kind.DIR) if path == "a" and self.lied else found

    tree = Liar(files)
    tree.lied = False
    local.export(tree, tmp_path / "dest")
    tree.lied = True
    local.export(tree, tmp_path / "dest")
    assert os.listdir(outside) == []
    assert (tmp_path / "dest" / "a" / "x").read_bytes() == b"evil"


def test_a_directory_in_the_way_of_a_file_is_an_error(tmp_path):
    (tmp_path / "bin" / "sh" / "keep").mkdir(parents=True)
    with pytest.raises(BuildError, match="bin/sh"):
        local.export(TREE, tmp_path)
    assert (tmp_path / "bin" / "sh" / "keep").is_dir()


def test_a_destination_that_is_a_file(tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(UsageError, match="can't write into"):
        local.export(TREE, tmp_path / "f")
