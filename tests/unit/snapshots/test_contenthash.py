from dataclasses import replace

import pytest
from support.trees import MemTree

from lazybuild.estargz.entry import Kind
from lazybuild.snapshots.contenthash import Selection, content_digest
from lazybuild.snapshots.tree import Node

FILES = {"d/a": b"1", "d/b/c": b"2", "d/l": "->a", "e": b"3"}


def of(files, path="d", **more):
    return content_digest(MemTree(files), Selection(path=path, **more))


def test_equal_content_is_equal():
    assert of(FILES) == of(dict(FILES))


def test_what_is_outside_of_the_selection_does_not_count():
    assert of(FILES) == of({**FILES, "e": b"other", "f": b"new"})


@pytest.mark.parametrize(
    "change",
    [
        {"d/a": b"9"},
        {"d/n": b""},
        {"d/l": "->b"},
        {"d/a": (b"1", Node(kind=Kind.REG, mode=0o755, size=1))},
        {"d/a": (b"1", Node(kind=Kind.REG, mode=0o644, size=1, uid=1))},
        {"d/a": (b"1", Node(kind=Kind.REG, mode=0o644, size=1, xattrs={"user.x": b"1"}))},
        {"d/a": Node(kind=Kind.CHAR, mode=0o644, major=1)},
        {"d/b": Node(kind=Kind.DIR, mode=0o700)},
    ],
)
def test_everything_that_matters_counts(change):
    assert of({**FILES, **change}) != of(FILES)


def test_times_do_not_count():
    file = Node(kind=Kind.REG, mode=0o644, size=1)
    assert of({"d/a": (b"1", file)}) == of({"d/a": (b"1", replace(file, mtime=5, identity="x"))})


def test_names_are_relative():
    assert of({"x/a": b"1"}, path="x") == of({"y/a": b"1"}, path="y")
    assert of({"x": b"1"}, path="x") == of({"y": b"1"}, path="y")


def test_a_name_can_not_pass_as_another_tree():
    assert of({"d/a/b": b"1"}) != of({"d/a": None, "d/b": b"1"})


def test_a_link_at_the_top_is_followed():
    assert of({"t": "->d", "d/a": b"1"}, path="t") == of({"d/a": b"1"})
    assert of({"t": "->d", "d/a": b"1"}, path="t", follow=False) != of({"d/a": b"1"})


def test_wildcards_count_just_what_matched():
    more = {"a1": b"1", "a2": b"2", "b": b"3"}
    assert of(more, path="a*", wildcard=True) == of({**more, "b": b"x"}, path="a*", wildcard=True)
    assert of(more, path="a*", wildcard=True) != of({**more, "a2": b"x"}, path="a*", wildcard=True)
    assert of(more, path="a*", wildcard=True) != of({**more, "a3": b""}, path="a*", wildcard=True)


def test_patterns_count_just_what_matched():
    for more in ({"exclude": ("b",)}, {"include": ("a",)}):
        assert of(FILES, **more) == of({**FILES, "d/b/c": b"x"}, **more)
        assert of(FILES, **more) != of({**FILES, "d/a": b"x"}, **more)


def test_a_missing_path_has_a_digest_of_its_own():
    assert of(FILES, path="no") == of(FILES, path="nope")
    assert of(FILES, path="no") != of({"no": b""}, path="no")
