"""Layers laid over one another in a directory, what changed in it since, and marks of our own."""

import errno
import io
import os
import time

import pytest
from support.inside import inside, swept
from support.tars import directory, file, hardlink, symlink, tar

from lazybuild.errors import IntegrityError
from lazybuild.estargz import tar as reader
from lazybuild.snapshots import scan
from lazybuild.snapshots.apply import apply
from lazybuild.snapshots.copies import CopiedStep, Copies
from lazybuild.snapshots.diff import layer_items
from lazybuild.snapshots.dirtree import DirTree
from lazybuild.snapshots.unpack import unpack
from lazybuild.store.scratch import Scratch

pytestmark = pytest.mark.rootless


@pytest.fixture
def place(tmp_path):
    yield tmp_path / "root"
    swept(tmp_path / "root")


def items(*members):
    return reader.read(io.BytesIO(tar(members)))


def laid(root, *layers):
    """The names below `root` when these layers lie over one another."""
    root.mkdir()
    for layer in layers:
        apply(items(*layer), root)
    return sorted(scan.look(root).keys() - {""})


LOWER = (directory("d"), file("d/a", b"a"), file("d/b"), directory("d/e"), file("d/e/x"), file("f"))


@pytest.mark.parametrize(
    ("upper", "left"),
    [
        ([file("d/.wh.a")], ["d", "d/b", "d/e", "d/e/x", "f"]),
        ([file("d/.wh.e")], ["d", "d/a", "d/b", "f"]),
        ([file(".wh.d"), file(".wh.f"), file(".wh.none")], []),
        ([directory("d"), file("d/.wh..wh..opq"), file("d/n")], ["d", "d/n", "f"]),
        ([directory("d"), file("d/n"), file("d/.wh..wh..opq")], ["d", "d/n", "f"]),
        ([file("d/e/n"), file(".wh.d")], ["d", "d/e", "d/e/n", "f"]),
        ([file("d", b"file")], ["d", "f"]),
        ([directory("f"), file("f/g")], ["d", "d/a", "d/b", "d/e", "d/e/x", "f", "f/g"]),
        ([symlink("d", "/"), file("d/n")], ["d", "f", "n"]),
        ([hardlink("h", "d/a"), file("d/.wh.a")], ["d", "d/b", "d/e", "d/e/x", "f", "h"]),
    ],
)
def test_upper_layers_win(place, upper, left):
    assert inside(laid, place, LOWER, upper) == left


def test_a_whiteout_through_a_link_of_a_lower_layer_stays_inside(place, tmp_path):
    canary = tmp_path / "out"
    canary.mkdir()
    (canary / "kept").touch()
    inside(laid, place, [symlink("l", str(canary))], [file("l/.wh.kept"), file("l/.wh..wh..opq")])
    assert (canary / "kept").exists()
    with pytest.raises(IntegrityError, match="whiteout of nothing"):
        inside(apply, list(items(file("l/.wh..."))), place)


LAYERS = {
    "a": [directory("d"), file("d/a", b"a"), file("d/b", b"b")],
    "b": [file("d/b", b"of a step")],
    "c": [file("d/.wh.a"), file("d/c", b"c")],
    "x": [file("x")],
}


class Taken:
    """Trees of these layers, and which of them were unpacked for each."""

    def __init__(self, root):
        self.copies = Copies(Scratch(root))
        self.unpacked = []

    def take(self, layers):
        return self.copies.take(tuple(layers), self._items)

    def _items(self, layer):
        self.unpacked.append(layer)
        return items(*LAYERS[layer])

    def once(self):
        found, self.unpacked = "".join(self.unpacked), []
        return found


def _trees(root):
    root.mkdir()
    taken = Taken(root)
    step = CopiedStep(copy=taken.take("a"), publish=lambda _: "b")
    assert taken.once() == "a"
    (step.merged / "d/b").write_bytes(b"of a step")
    step.ended(())
    assert step.commit() == "b"
    taken.copies.keep(("a", "b"), step.copy)
    third = taken.take("abc")
    assert taken.once() == "c"
    assert third.path == step.merged
    assert (third.path / "d/b").read_bytes() == b"of a step"
    assert sorted(os.listdir(third.path / "d")) == ["b", "c"]
    assert third.states == scan.look(third.path)
    branch = taken.take("abx")
    assert taken.once() == "abx"
    taken.copies.give_back(tuple("abc"), third)
    taken.copies.give_back(tuple("abx"), branch)
    assert taken.take("abc").path == third.path
    assert taken.once() == ""
    written = taken.take("abx")
    (written.path / "x").write_bytes(b"by a reader")
    taken.copies.give_back(tuple("abx"), written)
    assert not written.path.exists()
    assert (taken.take("abx").path / "x").read_bytes() == b""
    assert taken.once() == "abx"


def test_a_tree_goes_on_where_layers_were_added_and_nothing_else_was_written(place):
    inside(_trees, place)


def _broken(root):
    root.mkdir()
    taken = Taken(root)
    with pytest.raises(IntegrityError):
        taken.copies.take(("a",), lambda _: items(file("d/.wh...")))
    assert list(root.iterdir()) == []


def test_a_tree_that_can_not_be_made_leaves_nothing(place):
    inside(_broken, place)


def changes(root, change):
    root.mkdir()
    apply(items(*LOWER, symlink("l", "f"), hardlink("h", "f")), root)
    before = scan.look(root)
    time.sleep(0.02)  # a tick of the file system's clock
    moved = change(root)
    tree = scan.Changes(root, before, moved if isinstance(moved, list) else ())
    return [item.entry.name for item in layer_items(tree, print)]


def _set_back(root):
    status = os.stat(root / "d/a")
    (root / "d/a").write_bytes(b"b")
    os.utime(root / "d/a", ns=(status.st_atime_ns, status.st_mtime_ns))


def _capable(root):
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    os.setxattr(root / "d/a", "security.capability", value)


def _away_and_back(root):
    times = os.stat(root / "d")
    os.rename(root / "d/a", root.parent / "aside")
    os.rename(root.parent / "aside", root / "d/a")
    os.utime(root / "d", ns=(times.st_atime_ns, times.st_mtime_ns))
    return [os.stat(root / "d/a").st_ino]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda root: None, []),
        (lambda root: (root / "d/a").write_bytes(b"longer"), ["d", "d/a"]),
        (_set_back, ["d", "d/a"]),
        (_capable, ["d", "d/a"]),
        (_away_and_back, []),
        (lambda root: os.chmod(root / "d/a", 0o600), ["d", "d/a"]),
        (lambda root: os.chown(root / "l", 5, 5, follow_symlinks=False), ["l"]),
        (lambda root: os.chmod(root / "d/e", 0o700), ["d", "d/e"]),
        (lambda root: os.setxattr(root / "d/e", "user.x", b"1"), ["d", "d/e"]),
        (lambda root: (root / "d/a").unlink(), ["d", "d/.wh.a"]),
        (lambda root: os.rename(root / "d", root / "n"), [
            ".wh.d", "n", "n/a", "n/b", "n/e", "n/e/x",
        ]),
        (lambda root: os.link(root / "f", root / "g"), ["f", "g", "h"]),
        (lambda root: (root / "n/m").mkdir(parents=True), ["n", "n/m"]),
    ],
)  # fmt: skip
def test_what_changed_is_the_layer(place, change, found):
    assert inside(changes, place, change) == found


def _unpacked_where_overlay_keeps_its_marks(root):
    def refuse(*_arguments, **_options):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    os.mknod = refuse
    known = os.setxattr
    os.setxattr = lambda path, name, *rest: (
        refuse() if name.startswith("user.overlay.") else known(path, name, *rest)
    )
    root.mkdir()
    layer = [file(".wh.gone"), directory("d"), file("d/.wh..wh..opq"), file("e"), file(".wh.e")]
    unpack(items(*layer, file(".wh.late"), file("late")), root)
    tree = DirTree(root)
    return sorted(tree.whiteouts("")), list(tree.children("")), tree.opaque("d")


def test_marks_of_our_own_where_overlay_keeps_its_to_itself(place):
    found = inside(_unpacked_where_overlay_keeps_its_marks, place)
    assert found == (["gone"], ["d", "e", "late"], True)
