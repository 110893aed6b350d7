"""Whatever the text: a value or a located DockerfileError, and never more than linear time."""

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazybuild.dockerfile.dump import dump
from lazybuild.dockerfile.ignore import IgnoreRules, read_patterns
from lazybuild.dockerfile.nodes import KEYWORDS
from lazybuild.dockerfile.parse import parse, read
from lazybuild.dockerfile.rules import parse_choice
from lazybuild.dockerfile.shell import Rules, process
from lazybuild.errors import DockerfileError

PIECES = (
    """FROM a\n|RUN |COPY |ONBUILD |\n|\r\n|\\\n|`\n|\\|`| |\t|#|# escape=`\n|# syntax=x\n|<<|<<-"""
    """|EOF|EOF\n|'|"|$|{|}|[|]|["a", "b"]|,|--|--from=a |=|a|é|\ufeff|\x00|\udcff|\u2028|1|:-|*"""
)
BITS = st.sampled_from([*(f"{word} " for word in KEYWORDS), *PIECES.split("|")])
DOCKERFILES = st.lists(BITS, max_size=60).map("".join)
WORDS = st.lists(
    st.sampled_from([*list("${}:-+?#%/*\\'\"`ab <\ufeff\udcff\n"), "${", "$A", "<<", ":-"]),
    max_size=40,
).map("".join)
RULES = st.builds(
    Rules,
    escape=st.sampled_from("\\`"),
    quotes=st.booleans(),
    raw_quotes=st.booleans(),
    raw_escapes=st.booleans(),
    keep_unset=st.booleans(),
)


def outcome(action, *arguments):
    """What came of it, or the DockerfileError that did; anything else fails the test."""
    try:
        return action(*arguments), None
    except DockerfileError as error:
        return None, error


def inside(span, source):
    lines = source.count("\n") + 1
    return 1 <= span.line <= span.end_line <= lines


@settings(max_examples=400, deadline=None)
@given(DOCKERFILES)
def test_any_text_is_parsed_or_refused_with_a_place(text):
    document, error = outcome(parse, text)
    if document is None:
        assert inside(error.span, text)
        return
    dump(document).encode("utf-8", "surrogateescape")
    for node in document.nodes:
        assert inside(node.span, document.source)
        assert node.value in node.original
        for flag in node.flags:
            assert inside(flag.span, document.source)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(data):
    document, error = outcome(read, data)
    assert document.nodes if document else error.span


@settings(max_examples=200, deadline=None)
@given(DOCKERFILES)
def test_a_span_leads_to_the_text_of_the_flag(text):
    document, _ = outcome(read, text)
    if document is None:
        return
    lines = document.source.split("\n")
    for node in document.nodes:
        for flag in node.flags:
            start = lines[flag.span.line - 1][flag.span.column - 1 :]
            assert start.startswith("-")


@settings(max_examples=600, deadline=None)
@given(WORDS, RULES, st.dictionaries(st.sampled_from("abA"), st.sampled_from(["", "x y", "a*b"])))
def test_any_word_is_expanded_or_refused(word, rules, env):
    expansion, error = outcome(process, word, env, rules)
    assert all(expansion.words) if expansion else error.message


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*list("*?[]^-!/\\.ab# "), "**", "**/"]), max_size=20).map("".join))
def test_any_ignore_file_is_read_or_refused_with_a_line(text):
    patterns, error = outcome(read_patterns, text.encode(), "f")
    if patterns is None:
        assert error.span.line == 1
    else:
        IgnoreRules.of(patterns).excludes("a/b")


@given(st.text(max_size=30))
def test_any_check_option_is_read_or_refused(text):
    choice, error = outcome(parse_choice, text)
    assert choice or error.message


def seconds(action, *arguments):
    start = time.thread_time()
    with contextlib.suppress(DockerfileError):
        action(*arguments)
    return time.thread_time() - start


def test_five_thousand_lines_in_half_a_second():
    block = (
        "RUN apt-get update && \\\n    # why\n    apt-get install -y a b c \\\n      d e f\n"
        "ENV A=b C='d e' F=\"g h\"\nCOPY --from=x --chown=1:2 a b c /d/\nLABEL a=b\n"
        "RUN <<EOF\necho a\nEOF\n"
    )
    text = "FROM debian AS x\n" + block * 500
    assert text.count("\n") > 5000
    parse("FROM a")
    assert min(seconds(parse, text) for _ in range(3)) < 0.5


HOSTILE = {
    "a long continuation": ("RUN ", "a \\\n"),
    "comments in a continuation": ("RUN a \\\n", "# c\n"),
    "blank lines in a continuation": ("RUN a \\\n", "\n"),
    "comments": ("", "# a\n"),
    "flags": ("RUN ", "--a=b "),
    "quotes": ("ENV ", "a='b' "),
    "escapes": ("ENV a=", "\\\\"),
    "heredoc marks": ("RUN ", "<<a "),
    "brackets": ("RUN ", "["),
    "substitutions": ("RUN <<x ", "${a:-b}"),
    "onbuild": ("", "ONBUILD "),
    "spaces in a directive": ("# escape =x", "      "),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_linear(name):
    """Ten times the text may cost ten times the time, with room for noise, not a hundred."""
    before, piece = HOSTILE[name]
    small = min(seconds(parse, before + piece * 1000) for _ in range(3))
    large = min(seconds(parse, before + piece * 10000) for _ in range(2))
    assert large < max(30 * small, 0.05)


@pytest.mark.parametrize(
    "word",
    ["${a:-", "$a", "'", "\\", "<<", "${a}", "${x//a*/b}", "${x##*a*a*a*a}", "${x%%*a*b*a}"],
)
def test_expansion_is_linear(word):
    env = {"x": "a" * 3000, "a": "y"}
    small = min(seconds(process, word * 50, env, Rules()) for _ in range(3))
    large = min(seconds(process, word * 500, env, Rules()) for _ in range(2))
    assert large < max(30 * small, 0.05)
