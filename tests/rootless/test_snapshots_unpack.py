"""Layer archives on the eager path: every hostile form of the list, with a canary outside."""

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from support.inside import inside, swept
from support.tars import device, directory, fifo, file, hardlink, info, symlink, tar

from lazybuild.errors import HostError, IntegrityError
from lazybuild.estargz import tar as reader
from lazybuild.estargz.entry import Kind
from lazybuild.snapshots.diff import layer_items
from lazybuild.snapshots.dirtree import DirTree
from lazybuild.snapshots.tree import walk
from lazybuild.snapshots.unpack import unpack

pytestmark = pytest.mark.rootless


@pytest.fixture
def place(tmp_path):
    (tmp_path / "canary").write_text("alive")
    (tmp_path / "root").mkdir()
    yield tmp_path
    swept(tmp_path / "root")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["canary"]
    assert (tmp_path / "canary").read_text() == "alive"


def lay(place: Path, data: bytes) -> dict[str, object]:
    """Unpack in the namespace; path -> (kind, mode, uid, gid, link or bytes)."""
    unpack(reader.read(io.BytesIO(data)), place / "root")
    return seen(place / "root")


def seen(root: Path) -> dict[str, object]:
    tree = DirTree(root)
    found: dict[str, object] = {}
    for path, node in walk(tree):
        if path:
            extra = tree.open(path).read() if node.kind is Kind.REG else node.link
            found[path] = (str(node.kind), node.mode, node.uid, node.gid, extra)
    return found


def raw(place: Path, data: bytes) -> list[tuple[str, int, int]]:
    unpack(reader.read(io.BytesIO(data)), place / "root")
    return [
        (str(p.relative_to(place / "root")), p.lstat().st_mode, p.lstat().st_rdev)
        for p in sorted((place / "root").rglob("*"))
    ]


def unpacked(place, *entries):
    return inside(lay, place, tar(entries))


def refused(place, *entries, match="."):
    with pytest.raises(IntegrityError, match=match):
        inside(lay, place, tar(entries))


def test_01_dots_upwards(place):
    refused(place, file("../canary", b"dead"), match="leaves the layer")


def test_02_absolute(place):
    assert list(unpacked(place, file("/x", b"1"))) == ["x"]


def test_03_through_a_link_to_the_root(place):
    found = unpacked(place, symlink("a", "/"), file("a/etc/x", b"1"))
    assert found["etc/x"][4] == b"1"
    assert found["a"][4] == "/"


def test_03_through_a_link_upwards(place):
    found = unpacked(place, symlink("a", "../../.."), file("a/canary", b"dead"))
    assert found["canary"][4] == b"dead"


def test_04_a_loop_is_data_until_something_goes_through_it(place):
    assert unpacked(place, symlink("a", "b"), symlink("b", "a"))["a"][4] == "b"


def test_04_through_a_loop(place):
    refused(place, symlink("a", "b"), symlink("b", "a"), file("a/x"), match="a/x")


def test_05_longer_than_a_path_can_be_by_way_of_links(place):
    part = "d" * 250
    links = [symlink(f"{part}/l{depth}", "../" * depth + part) for depth in range(30)]
    target = "/".join([part] * 20) + "/../../../../canary"
    refused(place, directory(part), *links, file(target, b"dead"))


def test_06_hard_link_to_the_host(place):
    refused(place, hardlink("x", "../../canary"))


@pytest.mark.parametrize("target", ["missing", "dir", "link/canary"])
def test_07_hard_link_to_what_is_no_file(place, target):
    refused(
        place, directory("dir"), symlink("link", "/.."), hardlink("x", target), match="hard link"
    )


def test_07_hard_link_to_a_link_names_the_link(place):
    found = unpacked(place, symlink("l", "../canary"), hardlink("x", "l"))
    assert found["x"][4] == "../canary"


def test_09_an_entry_under_a_file_replaces_it(place):
    found = unpacked(place, file("f", b"1"), file("f/x", b"2"))
    assert found["f"][0] == "dir"
    assert found["f/x"][4] == b"2"


def test_10_a_directory_that_becomes_a_link(place):
    found = unpacked(
        place, directory("d"), file("d/a", b"1"), symlink("d", "../.."), file("d/canary", b"dead")
    )
    assert found["canary"][4] == b"dead"


def test_10_a_directory_made_through_a_link_does_not_change_the_target(place):
    unpacked(place, symlink("d", "/.."), directory("d/.", mode=0o777), directory("d"))
    assert stat.S_IMODE(place.stat().st_mode) != 0o777


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh..", "d/.wh.", "d/.wh..."])
def test_11_whiteouts_of_nothing(place, name):
    refused(place, directory("d"), file(name), match="whiteout")


def test_11_an_opaque_mark_under_a_file(place):
    found = unpacked(place, file("f"), file("f/.wh..wh..opq"))
    assert found["f"][0] == "dir"


def test_11_marks_of_aufs_are_ignored(place):
    assert unpacked(place, file(".wh..wh.plnk/x"), file(".wh..wh.aufs")).keys() <= {".wh..wh.plnk"}


def test_12_a_whiteout_is_a_device_and_keeps_what_the_layer_itself_has(place):
    found = inside(raw, place, tar([file("a"), file(".wh.a"), file(".wh.b"), file("d/.wh.l")]))
    kinds = {name: (stat.S_IFMT(mode), device) for name, mode, device in found}
    assert kinds["a"] == (stat.S_IFREG, 0)
    assert kinds["b"] == (stat.S_IFCHR, 0)
    assert kinds["d/l"] == (stat.S_IFCHR, 0)


def test_12_a_directory_beside_its_own_whiteout_is_opaque(place):
    implied = [file(".wh.d"), file("d/f")]
    for entries in ([file(".wh.d"), directory("d")], [directory("d"), file(".wh.d")], implied):
        assert inside(opaque, place, tar(entries))
        swept(place / "root")
        (place / "root").mkdir()


def opaque(place: Path, data: bytes) -> bool:
    unpack(reader.read(io.BytesIO(data)), place / "root")
    return DirTree(place / "root").opaque("d")


def test_13_the_last_of_duplicates_wins(place):
    found = unpacked(place, file("a", b"1"), file("a", b"22", mode=0o600), directory("d"),
                     file("d/x"), symlink("d", "a"))  # fmt: skip
    assert found["a"][1:] == (0o600, 0, 0, b"22")
    assert found["d"][0] == "symlink"
    assert "d/x" not in found


def test_13_a_directory_again_keeps_its_files(place):
    found = unpacked(place, directory("d"), file("d/x", b"1"), directory("d", mode=0o700))
    assert found["d"][1] == 0o700
    assert found["d/x"][4] == b"1"


def test_14_odd_names(place):
    found = unpacked(place, file("new\nline"), file("bad\udcff"), file("n" * 255))
    assert set(found) == {"new\nline", "bad\udcff", "n" * 255}


def test_14_a_name_that_is_too_long(place):
    refused(place, file("n" * 256), match="too long")


def test_15_setuid_and_owners(place):
    found = unpacked(place, file("s", b"1", mode=0o4755, uid=0), file("u", uid=65534, gid=42))
    assert found["s"][1:4] == (0o4755, 0, 0)
    assert found["u"][2:4] == (65534, 42)


def test_16_devices_are_metadata_only(place):
    entries = tar(
        [device("sda", tarfile.BLKTYPE, 8, 0), device("mem", tarfile.CHRTYPE, 1, 1),
         device("zero", tarfile.CHRTYPE, 0, 0)]
    )  # fmt: skip
    kinds = {name: stat.S_IFMT(mode) for name, mode, _ in inside(raw, place, entries)}
    assert set(kinds.values()) == {stat.S_IFREG}
    found = inside(devices, place)
    assert found == {"mem": ("char", 1, 1), "sda": ("block", 8, 0), "zero": ("char", 0, 0)}


def devices(place: Path) -> dict[str, tuple[str, int, int]]:
    items = layer_items(DirTree(place / "root"), print)
    return {i.entry.name: (str(i.entry.kind), i.entry.major, i.entry.minor) for i in items}


def patched(data: bytes, at: int, value: bytes) -> bytes:
    """A tar whose first header has other bytes, and a checksum that agrees."""
    head = bytearray(data[:512])
    head[at : at + len(value)] = value
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + data[512:]


@pytest.mark.parametrize(
    "size",
    [
        b"\xff" * 12,
        b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7,
        b"\x80" + b"\xff" * 11,
        b"77777777777\0",
        b"-0000000001\0",
    ],
)
def test_18_sizes_that_no_file_has(place, size):
    data = patched(tar([file("f", b"1")]), 124, size)
    with pytest.raises(IntegrityError):
        inside(lay, place, data)


def test_19_what_pax_headers_say_is_judged_too(place):
    for pax in ({"path": "../canary"}, {"path": "a/../../canary"}, {"size": "99999999999999999"}):
        with pytest.raises(IntegrityError):
            inside(lay, place, tar([file("f", b"1", pax_headers=pax)]))


def test_20_a_sparse_file_of_an_exbibyte(place):
    pax = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "f",
        "GNU.sparse.realsize": str(1 << 60),
    }
    body = b"0\n".ljust(512, b"\0")
    with pytest.raises(IntegrityError, match="sparse"):
        inside(lay, place, tar([file("f", body, pax_headers=pax)]))


def test_26_a_layer_that_ends_early(place):
    data = tar([file("a", b"1"), file("b", bytes(5000))])
    for length in (100, 600, 1024 + 700, 3000):
        with pytest.raises(IntegrityError):
            inside(lay, place, data[:length])


def test_17_a_fifo_is_made_and_not_opened(place):
    assert unpacked(place, fifo("p"))["p"][0] == "fifo"


def test_21_foreign_attributes_are_dropped(place):
    pax = {
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.user.containers.override_stat": "0:0:0755",
        "SCHILY.xattr.security.ima": "x",
        "SCHILY.xattr.user.lazybuild.device": "c 1:1",
        "SCHILY.xattr.user.mine": "kept",
    }
    data = tar([file("f", b"", pax_headers=pax), directory("d", pax_headers=pax)])
    names = inside(attributes, place, data)
    assert names == {"f": ["user.mine"], "d": ["user.mine"]}


def attributes(place: Path, data: bytes) -> dict[str, list[str]]:
    unpack(reader.read(io.BytesIO(data)), place / "root")
    return {name: os.listxattr(place / "root" / name) for name in ("f", "d")}


def test_22_capabilities_come_back_as_revision_2(place):
    caps = bytes([1, 0, 0, 3]) + bytes(16) + (77).to_bytes(4, "little")
    pax = {"SCHILY.xattr.security.capability": caps.decode("latin-1")}
    data = tar([file("f", b"1", mode=0o755, pax_headers=pax)])
    assert inside(capability, place, data) == bytes([1, 0, 0, 2]) + bytes(16)


def capability(place: Path, data: bytes) -> bytes:
    unpack(reader.read(io.BytesIO(data)), place / "root")
    return dict(DirTree(place / "root").lookup("f").xattrs)["security.capability"]


def test_23_ids_that_no_namespace_has(place):
    refused(place, file("f", uid=2**32 - 1), match="out of range")
    with pytest.raises(HostError, match="99999000:1"):
        inside(lay, place, tar([file("f", uid=99999000, gid=1)]))


def test_24_times_are_clamped(place):
    assert inside(time_of, place, tar([file("f", mtime=-5)])) == 0


def time_of(place: Path, data: bytes) -> int:
    unpack(reader.read(io.BytesIO(data)), place / "root")
    return DirTree(place / "root").lookup("f").mtime


def test_24_directories_keep_their_times(place):
    data = tar([directory("d", mtime=5), file("d/f", mtime=6)])
    unpack_and = inside(dir_time, place, data)
    assert unpack_and == 5_000_000_000


def dir_time(place: Path, data: bytes) -> int:
    unpack(reader.read(io.BytesIO(data)), place / "root")
    return DirTree(place / "root").lookup("d").mtime


def test_25_deep_nesting(place):
    deep = "/".join("d" * 1000)
    assert unpacked(place, file(deep + "/f", b"1"))[deep + "/f"][4] == b"1"


def test_43_landmarks_and_the_toc_are_left_out(place):
    found = unpacked(place, file(".prefetch.landmark", b"\x0f"), file("stargz.index.json", b"{}"),
                     file(".no.prefetch.landmark"), file("d/stargz.index.json", b"{}"))  # fmt: skip
    assert set(found) == {"d", "d/stargz.index.json"}


def test_hard_links_and_sparse_files(place):
    data = tar([file("a", bytes(5 << 20) + b"end"), hardlink("b", "a"), info("e")])
    size, blocks, links = inside(sizes, place, data)
    assert size == (5 << 20) + 3
    assert blocks < 1 << 20
    assert links == 2


def sizes(place: Path, data: bytes) -> tuple[int, int, int]:
    unpack(reader.read(io.BytesIO(data)), place / "root")
    status = os.stat(place / "root/a")
    return status.st_size, status.st_blocks * 512, status.st_nlink
