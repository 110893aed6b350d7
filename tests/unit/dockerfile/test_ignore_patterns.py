import time

import pytest

from lazybuild.dockerfile.ignore import IgnoreRules, read_patterns
from lazybuild.errors import DockerfileError

MATCHES = [
    ("**", "file", True),
    ("**", "a/b/file", True),
    ("**/", "file", True),
    ("dir/**", "dir", False),
    ("dir/**", "dir/file", True),
    ("dir/**", "dir/a/b", True),
    ("**/dir", "dir", True),
    ("**/dir", "a/dir", True),
    ("**/dir", "a/adir", False),
    ("**dir", "a/adir", True),
    ("**/dir2/*", "dir/dir2/file", True),
    ("**/dir2/*", "dir/dir2/a/b", False),
    ("**/*.txt", "dir/a.txt", True),
    ("**/**/*.txt", "a.txt", True),
    ("**/**/*.txt2", "a.txt", False),
    ("a**/*.txt", "a/file.txt", True),
    ("a**/*.txt", "a/dir/dir/file.txt", True),
    ("a[b-d]e", "ace", True),
    ("a[b-d]e", "aae", False),
    ("a[^b]c", "a/c", True),
    ("a\\*b", "a*b", True),
    ("a\\*b", "axb", False),
    ("a?b", "a/b", False),
    ("a.b", "axb", False),
    ("a+b(c)|d$", "a+b(c)|d$", True),
    ("*", "a/b", False),
    ("한*", "한국", True),
    ("a**b", "a/x/b", True),
    ("a**b", "axb", False),
]


def excludes(path, *patterns):
    return IgnoreRules.of(read_patterns("\n".join(patterns).encode(), ".dockerignore")).excludes(
        path
    )


@pytest.mark.parametrize(("pattern", "path", "expected"), MATCHES)
def test_one_pattern(pattern, path, expected):
    rules = IgnoreRules.of([pattern])
    assert rules.rules[0].pattern.matches(path) is expected


def test_a_directory_takes_its_content_along():
    assert excludes("node_modules/a/b", "node_modules")
    assert excludes("a/b/c/d", "a/*/c")
    assert not excludes("node_modules2", "node_modules")


def test_the_last_match_decides():
    assert not excludes("docs/README.md", "docs", "!docs/README.md")
    assert excludes("docs/other.md", "docs", "!docs/README.md")
    assert excludes("docs/README.md", "docs", "!docs/README.md", "**/*.md")
    assert not excludes("docs/a/b", "**", "!docs")


def test_a_file_is_read_as_the_reference_reads_it():
    text = b"\xef\xbb\xbf# no\n #yes\n\n  /a/./b/../c/  \r\n! x \n/\n!/y/\n..//z\n"
    assert read_patterns(text, "f") == ("#yes", "a/c", "!x", "/", "!y", "../z")


@pytest.mark.parametrize(
    "bad", ["[", "a[]b", "a[^]b", "[a-]", "[-a]", "[b-a]", "a\\", "!", "! ", "![x", "a/[", "[a\\"]
)
def test_malformed_is_an_error_with_its_line(bad):
    with pytest.raises(DockerfileError) as caught:
        read_patterns(f"good\n{bad}\n".encode(), "x.dockerignore")
    assert caught.value.span.line == 2
    assert caught.value.span.path == "x.dockerignore"


def test_exceptions_and_everything():
    assert IgnoreRules.of(["a", "!b"]).has_exceptions
    assert not IgnoreRules.of(["a"]).has_exceptions
    assert IgnoreRules.of(["**/*"]).takes_everything
    assert not IgnoreRules.of(["!*"]).takes_everything


def test_no_pattern_is_slow():
    start = time.thread_time()
    assert not excludes("a" * 20000 + "c", "*a" * 200 + "b")
    assert not excludes("a/" * 300 + "c", "**/a/" * 60 + "b")
    assert time.thread_time() - start < 3
