"""Our view of a stack of layers against the kernel's, and the way from an upper directory back."""

import os
import shutil
import socket
import stat
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.inside import inside, swept

from lazybuild.estargz.entry import Entry, Item, Kind
from lazybuild.snapshots.diff import layer_items
from lazybuild.snapshots.dirtree import DirTree
from lazybuild.snapshots.merged import MergedTree
from lazybuild.snapshots.steps import prepared, viewed
from lazybuild.snapshots.tree import walk
from lazybuild.snapshots.unpack import unpack
from lazybuild.store.remove import remove_tree
from lazybuild.store.scratch import Scratch

pytestmark = pytest.mark.rootless

NAMES = st.sampled_from(["a", "b", "a/a", "a/b", "b/a", "a/a/b", "b/a/a"])
KINDS = st.sampled_from(["file", "dir", "link", "whiteout", "opaque"])
LAYER = st.lists(st.tuples(NAMES, KINDS), max_size=6)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "tmp").mkdir()
    yield tmp_path / "tmp"
    swept(tmp_path / "tmp")


def fresh(place: Path) -> AbstractContextManager[Path]:
    return Scratch(place).directory("step")


def item(number: int, name: str, kind: str) -> Item:
    directory, _, last = name.rpartition("/")
    lead = f"{directory}/" if directory else ""
    match kind:
        case "whiteout":
            return Item(Entry(name=f"{lead}.wh.{last}", kind=Kind.REG))
        case "opaque":
            return Item(Entry(name=f"{name}/.wh..wh..opq", kind=Kind.REG))
        case "dir":
            return Item(Entry(name=name, kind=Kind.DIR, mode=0o700 + number))
        case "link":
            return Item(Entry(name=name, kind=Kind.SYMLINK, mode=0o777, link=f"to{number}"))
        case _:
            return Item(Entry(name=name, kind=Kind.REG, mode=0o600 + number))


def kernel(root: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in root.rglob("*"):
        if not os.path.lexists(path):
            continue  # a whiteout with nothing below is listed by the kernel, and can't be opened
        status = path.lstat()
        target = os.readlink(path) if path.is_symlink() else ""
        mode = 0o777 if target else stat.S_IMODE(status.st_mode)
        found[str(path.relative_to(root))] = (stat.S_IFMT(status.st_mode), mode, target)
    return found


_FORMATS = {Kind.DIR: stat.S_IFDIR, Kind.REG: stat.S_IFREG, Kind.SYMLINK: stat.S_IFLNK}


def ours(layers: list[Path]) -> dict[str, object]:
    tree = MergedTree([DirTree(path) for path in layers])
    return {path: (_FORMATS[node.kind], node.mode, node.link) for path, node in walk(tree) if path}


def both(place: Path, layers: list[list[tuple[str, str]]]) -> tuple[object, object]:
    roots: list[Path] = []
    for number, entries in enumerate(layers):
        root = place / f"l{number}"
        root.mkdir()
        unpack((item(number, name, kind) for name, kind in entries), root)
        roots.append(root)
    with fresh(place) as work, viewed(roots, work) as merged:
        seen = kernel(merged)
    mine = ours(roots)
    for root in roots:
        remove_tree(root)
    return seen, mine


@settings(
    max_examples=60,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(layers=st.lists(LAYER, min_size=1, max_size=4))
def test_the_merged_tree_is_what_the_kernel_shows(place, layers):
    seen, mine = inside(both, place, layers)
    assert mine == seen


def test_what_a_step_does_comes_back_as_a_layer_that_does_the_same(place):
    before, after, items = inside(step_and_back, place)
    assert after == before
    assert "d/.wh.gone" in items
    assert items.index("new") < items.index("new/.wh..wh..opq") < items.index("new/x")
    assert items == sorted(items, key=lambda n: n.replace(".wh..wh..opq", "").split("/"))


def step_and_back(place: Path) -> tuple[object, object, list[str]]:
    base = place / "base"
    base.mkdir()
    lay = [
        Item(Entry(name=name, kind=kind, mode=0o755))
        for name, kind in (
            ("d", Kind.DIR),
            ("d/gone", Kind.REG),
            ("d/stay", Kind.REG),
            ("new", Kind.DIR),
            ("new/old", Kind.REG),
            ("t", Kind.REG),
        )
    ]
    unpack(lay, base)
    with fresh(place) as work, prepared([base], work, publish=str) as step:
        change(step.merged)
        before = kernel(step.merged)
        step.unmount()
        notes: list[str] = []
        items = list(layer_items(DirTree(step.upper), notes.append))
        assert any("sock" in note for note in notes)
        again = place / "again"
        again.mkdir()
        unpack(items, again)
    with fresh(place) as work, viewed([base, again], work) as merged:
        after = kernel(merged)
    before.pop("sock")
    return before, after, [item.entry.name for item in items]


def change(root: Path) -> None:
    (root / "d/gone").unlink()
    shutil.rmtree(root / "new")
    (root / "new").mkdir(mode=0o700)
    (root / "new/x").write_text("x")
    os.link(root / "new/x", root / "new/y")
    (root / "t").unlink()
    (root / "t").symlink_to("d")
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        fd = os.open(root, os.O_PATH)
        bound.bind(f"/proc/self/fd/{fd}/sock")
        os.close(fd)


def test_more_layers_than_a_page_of_options_holds(place):
    assert inside(many, place, 150) == 150


def many(place: Path, count: int) -> int:
    roots = [place / f"layer-with-a-name-that-is-not-short-{number}" for number in range(count)]
    for number, root in enumerate(roots):
        root.mkdir()
        (root / f"f{number}").touch()
    with fresh(place) as work, viewed(roots, work) as merged:
        return len(list(merged.iterdir()))


def test_odd_characters_in_the_way_to_the_store(place):
    assert inside(odd, place) == {"f", "g"}


def odd(place: Path) -> set[str]:
    home = place / "a:b,c\\d e"
    for name in ("one", "two"):
        (home / name).mkdir(parents=True)
    (home / "one/f").touch()
    (home / "two/g").touch()
    with fresh(home) as work, prepared([home / "one", home / "two"], work, publish=str) as step:
        return {path.name for path in step.merged.iterdir()}


def test_nothing_is_left_of_a_step_that_is_not_kept(place):
    assert inside(dropped, place) == []


def dropped(place: Path) -> list[str]:
    with fresh(place) as work, prepared([], work, publish=str) as step:
        deep = step.merged
        for _ in range(300):
            deep = deep / ("d" * 10)
            deep.mkdir()
        os.chmod(deep, 0)
    mounts = Path("/proc/self/mounts").read_text()
    return [*os.listdir(place), *(line for line in mounts.splitlines() if str(place) in line)]


def test_a_sparse_file_is_read_as_it_is(place):
    size, data = inside(sparse, place)
    assert size == (64 << 20) + 4
    assert data == (b"\0" * 4, b"data")


def sparse(place: Path) -> tuple[int, tuple[bytes, bytes]]:
    path = place / "upper" / "lastlog"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.seek(64 << 20)
        file.write(b"data")
    (item,) = layer_items(DirTree(path.parent), print)
    with item.open() as stream:
        data = stream.read()
    return len(data), (data[:4], data[-4:])


def test_capabilities_set_in_a_step_are_portable(place):
    assert inside(capabilities, place) == bytes([1, 0, 0, 2]) + bytes([0, 4] + [0] * 14)


def capabilities(place: Path) -> bytes:
    with fresh(place) as work, prepared([], work, publish=str) as step:
        (step.merged / "ping").touch()
        value = bytes([1, 0, 0, 2]) + bytes([0, 4] + [0] * 14)
        os.setxattr(step.merged / "ping", "security.capability", value)
        step.unmount()
        (item,) = layer_items(DirTree(step.upper), print)
        return item.entry.xattrs["security.capability"]
