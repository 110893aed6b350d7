"""Layers through the store: steps, commits, blobs, and blobs back into directories."""

import gzip
import io
import os
import stat
import subprocess
from functools import partial
from pathlib import Path

import pytest
from support.inside import inside, swept
from support.tars import device, file, hardlink, symlink, tar
from support.trees import content

from lazybuild.errors import IntegrityError
from lazybuild.estargz.entry import Entry, Item, Kind
from lazybuild.oci.descriptor import OCI_LAYER_GZIP, Descriptor
from lazybuild.oci.digest import DiffID, of
from lazybuild.snapshots.diff import layer_items
from lazybuild.snapshots.dirtree import DirTree
from lazybuild.snapshots.lowers import EagerLower
from lazybuild.snapshots.manager import Snapshots
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.snapshots.toctree import TocTree
from lazybuild.snapshots.tree import walk
from lazybuild.store import Layer, Store

pytestmark = pytest.mark.rootless


@pytest.fixture
def root(tmp_path):
    yield tmp_path / "store"
    swept(tmp_path / "store")


class Room:
    """A store with its snapshots, and everything that was said."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.said: list[str] = []
        eager = EagerLower(self.store, lambda layer: self.store.blobs.open(layer.descriptor.digest))
        self.snapshots = Snapshots(
            self.store,
            eager,
            lambda layer: self.store.blobs.ranges(layer.descriptor.digest),
            sink=lambda event: self.said.append(event.message),
        )

    def step(self, base: Snapshot, work) -> Snapshot:
        with self.snapshots.mount(base) as step:
            work(step.merged)
            return base.over(step.commit())

    def seen(self, snapshot: Snapshot) -> dict[str, tuple[object, ...]]:
        tree = self.snapshots.tree(snapshot)
        return {
            path: (node.kind, node.mode, node.uid, node.gid, node.link)
            for path, node in walk(tree)
            if path
        }

    def idle(self) -> list[str]:
        mounts = Path("/proc/self/mounts").read_text()
        left = [line for line in mounts.splitlines() if str(self.store.root) in line]
        return [*left, *os.listdir(self.store.root / "tmp")]


def make(merged: Path) -> None:
    (merged / "etc").mkdir()
    (merged / "etc/passwd").write_text("root")
    (merged / "bin").mkdir(mode=0o700)
    (merged / "bin/su").write_bytes(os.urandom(200_000))
    os.chown(merged / "bin/su", 5, 42)
    os.chmod(merged / "bin/su", 0o4755)
    os.link(merged / "bin/su", merged / "bin/sudo")
    (merged / "bin/sh").symlink_to("su")
    os.mkfifo(merged / "pipe")


def alter(merged: Path) -> None:
    (merged / "etc/passwd").unlink()
    (merged / "etc/group").write_text("g")
    with pytest.raises(OSError, match="cross-device"):  # overlay with userxattr; mv copies instead
        os.rename(merged / "bin", merged / "sbin")
    subprocess.run(["mv", merged / "bin", merged / "sbin"], check=True)


def test_a_step_becomes_a_layer_and_the_layer_a_blob_with_the_same_files(root):
    inside(step_to_blob, root)


def step_to_blob(root: Path) -> None:
    room = Room(root)
    one = room.step(Snapshot(), make)
    two = room.step(one, alter)
    before = room.seen(two)
    assert before["sbin/su"] == (Kind.REG, 0o4755, 5, 42, "")
    assert "etc/passwd" not in before
    for layer in two.layers:
        room.snapshots.write_blob(layer)
        assert isinstance(room.snapshots.layer_tree(layer), TocTree)
    assert room.seen(two) == before
    assert Room(root).seen(two) == before
    assert room.idle() == []


def test_what_a_step_reads_is_what_earlier_ones_wrote(root):
    inside(reads_back, root)


def reads_back(root: Path) -> None:
    room = Room(root)
    two = room.step(room.step(Snapshot(), make), alter)
    with room.snapshots.view(two) as merged:
        assert (merged / "etc/group").read_text() == "g"
        assert not (merged / "etc/passwd").exists()
        assert stat.S_IMODE((merged / "sbin/su").stat().st_mode) == 0o4755
        with pytest.raises(OSError, match="Read-only"):
            (merged / "x").touch()
    assert room.idle() == []


def test_a_step_that_is_not_kept_leaves_nothing(root):
    inside(not_kept, root)


def not_kept(root: Path) -> None:
    room = Room(root)
    with room.snapshots.mount(Snapshot()) as step:
        make(step.merged)
    assert os.listdir(root / "snapshots") == []
    assert room.store.meta.layers() == []
    assert room.idle() == []


def test_a_layer_made_as_a_blob_can_be_stepped_on(root):
    inside(blob_below, root)


def blob_below(root: Path) -> None:
    room = Room(root)
    items = [
        Item(Entry(name="d", kind=Kind.DIR, mode=0o711, uid=7)),
        Item(Entry(name="d/f", kind=Kind.REG, size=3), lambda: io.BytesIO(b"abc")),
        Item(Entry(name="d/n", kind=Kind.CHAR, mode=0o666, major=1, minor=3)),
        Item(Entry(name=".wh.gone", kind=Kind.REG)),
    ]
    layer = room.snapshots.add_layer(items)
    assert room.snapshots.add_layer(items) == layer
    assert os.listdir(root / "snapshots") == []
    seen = room.seen(Snapshot((layer,)))
    assert seen["d/n"][0] is Kind.CHAR
    two = room.step(Snapshot((layer,)), lambda merged: (merged / "d/g").write_text("new"))
    assert room.snapshots.layer(layer).directory
    assert content(layer_items(DirTree(room.store.snapshot_dir(layer)), print)) == {
        "d/f": b"abc",
        ".wh.gone": b"",
    }
    assert set(room.seen(two)) == {"d", "d/f", "d/g", "d/n"}
    top = layer_items(room.snapshots.layer_tree(two.layers[1]), print)
    assert [item.entry.name for item in top] == ["d", "d/g"]


def test_an_order_is_written_once_it_is_asked_for(root):
    inside(ordered, root)


def ordered(root: Path) -> None:
    room = Room(root)
    (layer,) = room.step(Snapshot(), make).layers
    hot = room.snapshots.write_blob(layer, ["bin/sudo"])
    assert room.snapshots.write_blob(layer, ["etc/passwd"]) == hot
    assert room.snapshots.write_blob(layer) == hot
    assert room.snapshots.layer(layer).ordered
    tree = room.snapshots.layer_tree(layer)
    assert isinstance(tree, TocTree)
    assert set(tree.children("")) == set(DirTree(room.store.snapshot_dir(layer)).children(""))


def test_a_layer_that_was_written_at_once_can_be_ordered_later(root):
    inside(ordered_later, root)


def ordered_later(root: Path) -> None:
    room = Room(root)
    items = [
        Item(Entry(name=name, kind=Kind.REG, size=3), lambda: io.BytesIO(b"abc"))
        for name in ("a", "b", "c")
    ]
    layer = room.snapshots.add_layer(items)
    plain = room.snapshots.layer(layer).descriptor
    hot = room.snapshots.write_blob(layer, ["c"])
    assert hot.digest != plain.digest
    assert room.snapshots.write_blob(layer, ["b"]) == hot
    assert list(room.seen(Snapshot((layer,)))) == ["a", "b", "c"]


def test_names_that_are_not_utf_8_make_a_plain_layer(root):
    inside(not_utf8, root)


def not_utf8(root: Path) -> None:
    room = Room(root)
    (layer,) = room.step(Snapshot(), lambda merged: (merged / "bad\udcff").touch()).layers
    descriptor = room.snapshots.write_blob(layer)
    assert room.snapshots.layer(layer).toc_digest is None
    assert descriptor.media_type == OCI_LAYER_GZIP
    assert any("not UTF-8" in text for text in room.said)
    assert list(room.seen(Snapshot((layer,)))) == ["bad\udcff"]


def known(room: Room, data: bytes, diff_id: str | None = None) -> Layer:
    """A plain gzip layer that lies in the store."""
    digest = room.store.blobs.put(data)
    descriptor = Descriptor(media_type=OCI_LAYER_GZIP, digest=digest, size=len(data))
    layer = Layer(id="base", descriptor=descriptor, diff_id=DiffID(diff_id) if diff_id else None)
    room.store.meta.put_layer(layer)
    return layer


def test_a_plain_layer_is_unpacked_and_proved(root):
    inside(plain_layer, root)


def plain_layer(root: Path) -> None:
    room = Room(root)
    entries = tar([file("a/b", b"1", uid=9), hardlink("a/c", "a/b"), symlink("l", "a"),
                   device("dev/null", b"3", 1, 3)])  # fmt: skip
    known(room, gzip.compress(entries), of(entries))
    with room.snapshots.view(Snapshot(("base",))) as merged:
        assert (merged / "l/c").read_bytes() == b"1"
        assert (merged / "a/b").stat().st_nlink == 2
        assert stat.S_ISREG((merged / "dev/null").stat().st_mode)
    assert room.snapshots.layer("base").uncompressed_size == len(entries)
    assert Room(root).seen(Snapshot(("base",)))["dev/null"][0] is Kind.CHAR


@pytest.mark.parametrize("case", ["diff id", "blob", "tail", "bomb"])
def test_a_layer_that_is_not_what_it_should_be_leaves_nothing(root, case):
    with pytest.raises(IntegrityError):
        inside(wrong_layer, root, case)
    left = inside(lambda: [os.listdir(root / "snapshots"), os.listdir(root / "tmp")])
    assert left == [[], []]


def wrong_layer(root: Path, case: str) -> None:
    room = Room(root)
    entries = tar([file("a", b"1")])
    packed = gzip.compress(entries)
    match case:
        case "diff id":
            known(room, packed, of(b"other"))
        case "tail":
            known(room, packed[:-9], of(entries))
        case "bomb":
            known(room, gzip.compress(tar([file("f", bytes(1 << 20))]) * 40, 9)[:-8] + bytes(8))
        case _:
            layer = known(room, packed, of(entries))
            path = room.store.blobs.path(layer.descriptor.digest)
            path.chmod(0o600)
            path.write_bytes(gzip.compress(entries + bytes(512)))
    with room.snapshots.view(Snapshot(("base",))):
        raise AssertionError("mounted")


def test_a_removed_layer_is_gone(root):
    inside(removed, root)


def removed(root: Path) -> None:
    room = Room(root)
    (layer,) = room.step(Snapshot(), make).layers
    room.snapshots.remove(layer)
    assert os.listdir(root / "snapshots") == []
    assert room.store.meta.layer(layer) is None


def test_a_layer_takes_over_what_the_last_of_its_lineage_has(root):
    inside(lineage, root)


def lineage(root: Path) -> None:
    """No file that is unchanged is read, damage on disk is seen, and the bytes are always those
    that a store without a past writes.
    """
    room, fresh = Room(root), Room(root.with_name("fresh"))
    data = {f"f{n}": b"%d" % n * 300 for n in range(40)}
    first = room.snapshots.add_layer(with_digests(data), lineage="copy")
    read: list[str] = []
    changed = {**data, "f7": b"other"}
    second = room.snapshots.add_layer(with_digests(changed, read.append), lineage="copy")
    assert read == ["f7"]
    wanted = fresh.snapshots.layer(fresh.snapshots.add_layer(with_digests(changed)))
    assert room.snapshots.layer(second).descriptor == wanted.descriptor
    assert second != first
    blob = room.store.blobs.path(wanted.descriptor.digest)
    blob.chmod(0o600)
    with blob.open("r+b") as stream:
        stream.seek(9)  # of the first member's head: nothing that inflating would miss
        stream.write(b"\0")
    again = {**data, "f8": b"other"}
    third = room.snapshots.add_layer(with_digests(again, read.append), lineage="copy")
    assert len(read) == 41
    wanted = fresh.snapshots.layer(fresh.snapshots.add_layer(with_digests(again)))
    assert room.snapshots.layer(third).descriptor == wanted.descriptor


def with_digests(data, note=str):
    def opened(name):
        note(name)
        return io.BytesIO(data[name])

    return [
        Item(
            Entry(name=name, kind=Kind.REG, size=len(data[name])),
            partial(opened, name),
            partial(of, data[name]),
        )
        for name in sorted(data)
    ]
