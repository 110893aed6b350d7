"""The layer between two mounted trees: what is in it, what is not, and that it gives the second."""

import os
import shutil

import pytest

from lazybuild.snapshots.diff import layer_items
from lazybuild.snapshots.difference import Difference, same
from lazybuild.snapshots.dirtree import DirTree

OLD = 1_600_000_000


@pytest.fixture
def trees(tmp_path):
    """Two equal trees; files of the second are the first's, as in overlay."""
    lower = tmp_path / "lower"
    (lower / "etc" / "deep").mkdir(parents=True)
    (lower / "bin").mkdir()
    for name in ("etc/a", "etc/deep/b", "bin/c"):
        (lower / name).write_text(name)
    (lower / "link").symlink_to("etc/a")
    for path in (*lower.rglob("*"), lower):
        os.utime(path, (OLD, OLD), follow_symlinks=False)
    upper = tmp_path / "upper"
    shutil.copytree(lower, upper, symlinks=True, copy_function=os.link)
    return lower, upper


def names(lower, upper):
    tree = Difference(DirTree(lower) if lower else None, DirTree(upper))
    return [item.entry.name for item in layer_items(tree, lambda line: None)]


def write(path, text):
    """Anew, as a copy-up does: not into the file that both trees share."""
    path.unlink(missing_ok=True)
    path.write_text(text)
    os.utime(path, (OLD, OLD))


def test_equal_trees_have_no_difference(trees):
    assert names(*trees) == []
    assert names(trees[0], trees[0]) == []


def test_over_nothing_all_is_new(trees):
    assert names(None, trees[1]) == [
        "bin",
        "bin/c",
        "etc",
        "etc/a",
        "etc/deep",
        "etc/deep/b",
        "link",
    ]


def test_what_was_added_comes_with_its_directories(trees):
    lower, upper = trees
    (upper / "etc" / "deep" / "n").mkdir()
    (upper / "etc" / "deep" / "n" / "f").write_text("f")
    for path in (upper / "etc" / "deep", upper / "etc"):
        os.utime(path, (OLD, OLD))
    assert names(lower, upper) == ["etc", "etc/deep", "etc/deep/n", "etc/deep/n/f"]


def test_bytes_count_where_nothing_else_tells(trees):
    lower, upper = trees
    write(upper / "bin" / "c", "bin/C")
    write(upper / "etc" / "a", "etc/a")
    for name in ("bin", "etc"):
        os.utime(upper / name, (OLD, OLD))
    assert names(lower, upper) == ["bin", "bin/c"]


@pytest.mark.parametrize("change", ["mode", "time"])
def test_what_is_said_of_a_file_counts(trees, change):
    lower, upper = trees
    write(upper / "bin" / "c", "bin/c")
    if change == "mode":
        (upper / "bin" / "c").chmod(0o600)
    else:
        os.utime(upper / "bin" / "c", ns=(OLD, OLD * 10**9 + 1))
    os.utime(upper / "bin", (OLD, OLD))
    assert names(lower, upper) == ["bin", "bin/c"]


def test_what_is_gone_is_a_whiteout_where_it_began(trees):
    lower, upper = trees
    shutil.rmtree(upper / "etc" / "deep")
    (upper / "bin" / "c").unlink()
    for name in ("bin", "etc"):
        os.utime(upper / name, (OLD, OLD))
    assert names(lower, upper) == ["bin", "bin/.wh.c", "etc", "etc/.wh.deep"]
    tree = Difference(DirTree(lower), DirTree(upper))
    assert tree.removed() == ["bin/c", "etc/deep"]


def test_another_kind_takes_the_place(trees):
    lower, upper = trees
    shutil.rmtree(upper / "etc")
    (upper / "etc").write_text("file")
    (upper / "link").unlink()
    (upper / "link").mkdir()
    (upper / "link" / "in").write_text("in")
    assert names(lower, upper) == ["etc", "link", "link/in"]


def test_hard_links_stay_together(trees):
    lower, upper = trees
    (upper / "bin" / "one").write_text("1")
    (upper / "bin" / "two").hardlink_to(upper / "bin" / "one")
    tree = Difference(DirTree(lower), DirTree(upper))
    entries = {item.entry.name: item.entry for item in layer_items(tree, lambda line: None)}
    assert entries["bin/two"].link == "bin/one"


def test_a_second_name_brings_the_first(trees):
    lower, upper = trees
    (upper / "etc" / "a").unlink()
    shutil.copy2(lower / "etc" / "a", upper / "etc" / "a")
    (upper / "bin" / "also").hardlink_to(upper / "etc" / "a")
    tree = Difference(DirTree(lower), DirTree(upper))
    entries = {item.entry.name: item.entry for item in layer_items(tree, lambda line: None)}
    assert entries["etc/a"].link == "bin/also"


def test_an_overlays_untouched_directories_are_not_read(trees, monkeypatch):
    """Below a directory that is one in both, an overlay has nothing new; others might."""
    lower, upper = trees
    (upper / "etc" / "deep").joinpath("new").write_text("new")
    now = lower.stat().st_ctime_ns
    monkeypatch.setattr(DirTree, "changed_at", lambda self, path: now)
    assert names(lower, upper) == ["etc", "etc/deep", "etc/deep/new"]
    monkeypatch.setattr(DirTree, "is_overlay", lambda self: True)
    assert names(lower, upper) == []


def test_one_name_alone(trees):
    lower, upper = (DirTree(path) for path in trees)
    write(trees[1] / "bin" / "c", "other")
    assert same(lower, upper, "etc/a")
    assert same(lower, upper, "nowhere")
    assert not same(lower, upper, "bin/c")
    assert not same(None, upper, "etc/a")
