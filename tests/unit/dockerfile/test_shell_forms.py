"""Every form of expansion and splitting, beyond the reference's own cases."""

import pytest

from lazybuild.dockerfile.globs import matches, trim_prefix, trim_suffix
from lazybuild.dockerfile.shell import MAX_DEPTH, Rules, expand, expand_words, process
from lazybuild.errors import DockerfileError

ENV = {
    "A": "value",
    "EMPTY": "",
    "P": "usr/local/bin/file.tar.gz",
    "STAR": "a*b?c",
    "SPACES": " x  y ",
    "DOLLAR": "$A",
    "GLOB": "*/",
    "é": "accent",
    "LINES": "one\ntwo",
}

FORMS = [
    ("", ""),
    ("$A", "value"),
    ("${A}x$A", "valuexvalue"),
    ("$A_B", ""),
    ("$NO", ""),
    ("$é.", "accent."),
    ("$", "$"),
    ("a$", "a$"),
    ("$ A", "$ A"),
    ("$DOLLAR", "$A"),
    ("${A:-w}${EMPTY:-w}${NO:-w}", "valueww"),
    ("${A-w}${EMPTY-w}${NO-w}", "valuew"),
    ("${A:+w}${EMPTY:+w}${NO:+w}", "w"),
    ("${A+w}${EMPTY+w}${NO+w}", "ww"),
    ("${A?m}${A:?m}${EMPTY?m}", "valuevalue"),
    ("${NO:-a b}", "a b"),
    ("${NO:-'a}b'}", "a}b"),
    ('${NO:-"a}b"}', "a}b"),
    ("${NO:-\\}}", "}"),
    ("${NO:-${NO2:-${A}}}", "value"),
    ("${NO:-}", ""),
    ("${P#*/}", "local/bin/file.tar.gz"),
    ("${P##*/}", "file.tar.gz"),
    ("${P%.*}", "usr/local/bin/file.tar"),
    ("${P%%.*}", "usr/local/bin/file"),
    ("${P#$GLOB}", "local/bin/file.tar.gz"),
    ("${P#nothing}", "usr/local/bin/file.tar.gz"),
    ("${P#u?r}", "/local/bin/file.tar.gz"),
    ("${P%.t?r.gz}", "usr/local/bin/file"),
    ("${P#}", "usr/local/bin/file.tar.gz"),
    ("${NO#x}", ""),
    ("${STAR#a\\*}", "b?c"),
    ("${STAR%\\?c}", "a*b"),
    ("${STAR#a[*]}", "a*b?c"),
    ("${LINES#*}", "one\ntwo"),
    ("${LINES##*}", "\ntwo"),
    ("${P/local/x}", "usr/x/bin/file.tar.gz"),
    ("${P//[.]/x}", "usr/local/bin/file.tar.gz"),
    ("${P//./_}", "usr/local/bin/file_tar_gz"),
    ("${P//\\//.}", "usr.local.bin.file.tar.gz"),
    ("${P/l*l/-}", "usr/-e.tar.gz"),
    ("${P//?/x}", "x" * 25),
    ("${P/nothing/x}", "usr/local/bin/file.tar.gz"),
    ("${A/a/}", "vlue"),
    ("${A//a/[$0]}", "v[]lue"),
    ("${A//a/[\\$0]}", "v[\\a]lue"),
    ("${NO/a/b}", ""),
    ("${A/\\}/b}", "value"),
    ("'$A'", "$A"),
    ('"$A"', "value"),
    ('"\\$A"', "$A"),
    ('"\\a\\\\"', "\\a\\"),
    ('"\'"', "'"),
    ("\\'", "'"),
    ("a\\", "a"),
    ("\"a\"'b'c", "abc"),
    ("${A}}", "value}"),
    ("<", "<"),
    ("<<x", "<<x"),
    ("$$", ""),
    ("$?x", "x"),
    ("$12a", "a"),
    ("\ufeffa", "a"),
]


@pytest.mark.parametrize(("word", "expected"), FORMS)
def test_forms(word, expected):
    assert expand(word, ENV) == expected


FAILING = [
    ("${", "missing '}'"),
    ("${}", "bad substitution"),
    ("${:x}", "bad substitution"),
    ("${{A}}", "bad substitution"),
    ("${A", "missing '}'"),
    ("${A:", "missing '}'"),
    ("${A:-x", "missing '}'"),
    ("${A:-'x}", "missing '}'"),
    ("${A/x}", "missing '/' in ${}"),
    ("${A/x/y", "missing '}'"),
    ("${A:#x}", "unsupported modifier (:#)"),
    ("${A:%x}", "unsupported modifier (:%)"),
    ("${A:=x}", "unsupported modifier (:=)"),
    ("${A=x}", "unsupported modifier (=)"),
    ("${A^}", "unsupported modifier (^)"),
    ("${ A}", "unsupported modifier ( )"),
    ("${NO?}", "NO: is not allowed to be unset"),
    ("${NO?because}", "NO: because"),
    ("${NO:?}", "NO: is not allowed to be unset"),
    ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
    ("${EMPTY:?$A}", "EMPTY: value"),
    ("${A#\\a}", "invalid escape '\\a'"),
    ("${A#\\", "missing '}'"),
    ("'a", "matching single-quote"),
    ('"a', "matching double-quote"),
    ("${A:-" * (MAX_DEPTH + 1) + "}" * (MAX_DEPTH + 1), "nested"),
]


@pytest.mark.parametrize(("word", "message"), FAILING)
def test_failing(word, message):
    with pytest.raises(DockerfileError) as caught:
        expand(word, ENV)
    assert message in caught.value.message
    assert caught.value.message.startswith("failed to process ")


def test_deep_but_bearable_nesting():
    assert expand("${NO:-" * MAX_DEPTH + "x" + "}" * MAX_DEPTH, {}) == "x"


WORDS = [
    ("", []),
    ("  a\tb \n c ", ["a", "b", "c"]),
    ("$SPACES", ["x", "y"]),
    ('"$SPACES"', [" x  y "]),
    ("a${SPACES}b", ["a", "x", "y", "b"]),
    ("'a b' c\\ d", ["a b", "c d"]),
    ("a''", ["a"]),
    ("''", []),
    ("$NO", []),
    ("80 $A/udp", ["80", "value/udp"]),
    ("a <<  E b", ["a", "<<  E", "b"]),
    ("${NO:-80 81}", ["80", "81"]),
    ("x${NO:-y}z", ["yz"]),
]


@pytest.mark.parametrize(("word", "expected"), WORDS)
def test_words(word, expected):
    """The last one is the reference's quirk that `shell` keeps."""
    assert expand_words(word, ENV) == expected


def test_backtick_as_escape():
    assert expand('`$A \\$A `` "`$A`a"', ENV, "`") == "$A \\value ` $A`a"


def test_bytes_that_are_not_text_become_replacement_characters():
    assert expand("a\udcff$A", ENV) == "a\ufffdvalue"


RULES = [
    (Rules(quotes=False), "'$A' \"\\$A\" it's", "'value' \"$A\" it's"),
    (Rules(raw_quotes=True), "'$A' \"$A\" \\'", "'$A' \"value\" '"),
    (Rules(raw_escapes=True), 'a\\ b "\\$c" \\$A', "a\\ b \\$c \\$A"),
    (
        Rules(keep_unset=True),
        "$NO ${NO} ${NO:-$A} ${NO?x} ${NO#y} ${NO/$A/z} $A",
        "$NO ${NO} ${NO:-value} ${NO?x} ${NO#y} ${NO/value/z} value",
    ),
]


@pytest.mark.parametrize(("rules", "word", "expected"), RULES)
def test_rules(rules, word, expected):
    assert process(word, ENV, rules).text == expected


def test_names_that_were_looked_up():
    expansion = process("$A ${B:-$C} '$D' ${A:+x}", ENV, Rules())
    assert expansion.used == {"A"}
    assert expansion.unset == {"B", "C"}


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("a", "banana", [(1, 2), (3, 4), (5, 6)]),
        ("a*n", "banana", [(1, 5)]),
        ("", "ab", [(0, 0), (1, 1), (2, 2)]),
        ("*", "ab", [(0, 2)]),
        ("*", "a\nb", [(0, 1), (2, 3)]),
        ("?", "a\nb", [(0, 1), (2, 3)]),
        ("a\nb", "xa\nb", [(1, 4)]),
        ("x", "", []),
    ],
)
def test_matches(pattern, text, expected):
    assert matches(pattern, text) == expected


def test_trimming_takes_the_least_or_the_most():
    assert trim_prefix("*b", "abab", greedy=False) == "ab"
    assert trim_prefix("*b", "abab", greedy=True) == ""
    assert trim_suffix("b*", "abab", greedy=False) == "aba"
    assert trim_suffix("b*", "abab", greedy=True) == "a"
