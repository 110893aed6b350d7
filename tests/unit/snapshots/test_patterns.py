import time

import pytest

from lazybuild.errors import BuildError
from lazybuild.llb.patterns import MOVES, compile_pattern, go_match, has_wildcard
from lazybuild.snapshots.modes import change
from lazybuild.snapshots.patterns import Patterns

# Go path/filepath match_test.go has the same questions.
GO = [
    ("abc", "abc", True), ("*", "abc", True), ("*c", "abc", True), ("a*", "a", True),
    ("a*", "ab/c", False), ("a*/b", "abc/b", True), ("a*/b", "a/c/b", False),
    ("a*b*c*d*e*/f", "axbxcxdxe/f", True), ("a*b*c*d*e*/f", "axbxcxdxexxx/f", True),
    ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", False), ("a*b?c*x", "abxbbxdbxebxczzx", True),
    ("a*b?c*x", "abxbbxdbxebxczzy", False), ("ab[c]", "abc", True), ("ab[b-d]", "abc", True),
    ("ab[e-g]", "abc", False), ("ab[^c]", "abc", False), ("ab[^b-d]", "abc", False),
    ("ab[^e-g]", "abc", True), ("a\\*b", "a*b", True), ("a\\*b", "ab", False),
    ("a?b", "a☺b", True), ("a[^a]b", "a☺b", True), ("a???b", "a☺b", False),
    ("[a-ö]*", "ä", True), ("*[a-ö]", "A", False), ("a?b", "a/b", False), ("a*b", "a/b", False),
    ("[\\]a]", "]", True), ("[\\-]", "-", True), ("[x\\-]", "x", True), ("[x\\-]", "z", False),
    ("[\\-x]", "a", False), ("[]a]", "]", False), ("[-]", "-", False), ("[x-]", "x", False),
    ("[a-b-c]", "a", False), ("[", "a", False), ("[^", "a", False), ("[^bc", "a", False),
    ("a[", "a", False), ("*x", "xxx", True), ("[^a]", "/", True), ("[.-0]", "/", True),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "name", "expected"), GO)
def test_go_match(pattern, name, expected):
    assert go_match(pattern, name) is expected


def test_has_wildcard():
    assert all(has_wildcard(text) for text in ("a*", "a?", "[a"))
    assert not any(has_wildcard(text) for text in ("a", "a\\*"))


@pytest.mark.parametrize(
    ("patterns", "path", "expected"),
    [
        (["foo"], "foo", True), (["foo"], "foo/bar", True), (["foo"], "bar/foo", False),
        (["**/foo"], "foo", True), (["**/foo"], "a/b/foo", True), (["**"], "a/b", True),
        (["a/**"], "a/b/c", True), (["a/**/z"], "a/z", True), (["a/**/z"], "a/b/c/z", True),
        (["*.go"], "a.go", True), (["*.go"], "a/a.go", False), (["/foo/"], "foo/x", True),
        (["foo", "!foo/bar"], "foo/bar", False), (["foo", "!foo/bar"], "foo/baz", True),
        (["!foo", "foo"], "foo", True), (["dir/*", "!dir/a"], "dir/a", False),
        (["a.b"], "axb", False), (["a+(b)|{c}$"], "a+(b)|{c}$", True), (["**foo"], "xfoo", True),
        (["***foo"], "a/xfoo", True),
        (["./a/../b"], "b", True), (["[a-c]x"], "bx", True), (["[^a]x"], "ax", False),
    ],
)  # fmt: skip
def test_lists(patterns, path, expected):
    assert Patterns(patterns).match_deep(path) is expected


@pytest.mark.parametrize("pattern", ["[", "a[b", "a\\", "!"])
def test_malformed_patterns_are_errors(pattern):
    with pytest.raises(BuildError, match="pattern"):
        Patterns([pattern])


def test_a_pattern_can_t_blow_up():
    start = time.thread_time()
    assert not Patterns(["**/*a*a*a*a*a*b"]).match_deep("/".join(["a" * 60] * 10))
    with pytest.raises(BuildError, match="too long"):
        Patterns(["a" * (1 << 20)])
    assert time.thread_time() - start < 2


def test_what_a_pattern_remembers_is_bounded():
    pattern = compile_pattern("a*b?c*d")
    for number in range(3 * MOVES):
        assert not pattern.matches(f"a{chr(0x4E00 + number % 20_000)}{number}d")
    assert pattern.matches("axbxcxd")
    assert len(pattern.moves) <= MOVES


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("src/*.c", "src/a.c", True), ("src/*.c", "src/.c", True), ("src/*.c", "src.c", False),
        ("a\\*b*c", "a*bxc", True), ("a\\*b*c", "axbxc", False), ("ab*ba", "aba", False),
        ("x/**/y.z", "x/y.z", True), ("x/**/y.z", "x/a/b/y.z", True), ("x/**/y.z", "y.z", False),
        ("*.[ch]", "a.c", True), ("*.[ch]x", "a.cx", True), ("*.[ch]x", "a.cy", False),
    ],
)  # fmt: skip
def test_how_a_path_begins_and_ends_is_looked_at_first(text, path, expected):
    assert compile_pattern(text).matches(path) is expected


def test_what_could_lie_below():
    assert Patterns(["a/b/*.c"]).reaches_below("a/b")
    assert not Patterns(["a/b/*.c"]).reaches_below("a/x")
    assert Patterns(["a/b", "!a/b/c"]).reaches_below("a/b", negated=True)


@pytest.mark.parametrize(
    ("mode", "text", "directory", "expected"),
    [
        (0o644, "+x", False, 0o755), (0o644, "u+x", False, 0o744), (0o777, "go-w", False, 0o755),
        (0o644, "u=rwX,go=rX", False, 0o644), (0o755, "u=rwX,go=rX", False, 0o755),
        (0o600, "u=rwX,go=rX", True, 0o755), (0o640, "o=g", False, 0o644),
        (0o755, "u+s", False, 0o4755), (0o755, "+t", True, 0o1755), (0o4755, "u=rwx", False, 0o755),
        (0o777, "a=", False, 0), (0o000, "ug=rw,o=r", False, 0o664), (0o700, "g=u", False, 0o770),
        (0o777, "a-x+X", False, 0o666), (0o777, "a-x+X", True, 0o777),
        (0o6755, "a=rx", False, 0o555),
    ],
)  # fmt: skip
def test_symbolic_modes(mode, text, directory, expected):
    assert oct(change(mode, text, directory=directory)) == oct(expected)


@pytest.mark.parametrize("text", ["", "u", "x+u", "u+q", "u+r,,", "u=rg"])
def test_modes_that_are_none(text):
    with pytest.raises(BuildError, match="invalid mode"):
        change(0o644, text, directory=False)
