"""Text to nodes: every form of line, flag, argument and heredoc, and the places they stand at."""

import pytest

from lazybuild.dockerfile.directives import find, first_word
from lazybuild.dockerfile.dump import dump, quote
from lazybuild.dockerfile.nodes import KEYWORDS
from lazybuild.dockerfile.parse import parse, read
from lazybuild.errors import DockerfileError


def dumped(text):
    return dump(read(text))


def only(text):
    (node,) = parse(text).nodes
    return node


def refused(text):
    with pytest.raises(DockerfileError) as caught:
        parse(text, "Dockerfile")
    assert caught.value.span is not None
    assert caught.value.span.path == "Dockerfile"
    return caught.value


DUMPS = [
    ("run a \\\nb", '(run "a b")'),
    ("run a \\  \t\nb", '(run "a b")'),
    ("run a\\\n  b", '(run "a  b")'),
    ("  run a\n\t RUN b", '(run "a")\n(run "b")'),
    ("run a \\\\\nrun b", '(run "a \\\\\\\\")\n(run "b")'),
    ("run a \\\\\\\nrun b", '(run "a \\\\\\\\\\\\")\n(run "b")'),
    ("run a \\\n# no\n  # neither\n\n  \t\n b", '(run "a  b")'),
    ("run a \\", '(run "a")'),
    ("run a \\\r\nb\r\n", '(run "a b")'),
    ("\ufefffrom a", '(from "a")'),
    ("#escape=`\nrun a `\nb \\", '(run "a b \\\\")'),
    ("# Escape = ` \nrun a `\nb", '(run "a b")'),
    ("  # escape=`\nrun a `\nb", '(run "a b")'),
    ("#syntax=x\n#escape=`\nrun a `\nb", '(run "a b")'),
    ("# a comment\n#escape=`\nrun a `\nrun b", '(run "a `")\n(run "b")'),
    ("\n#escape=`\nrun a `\nrun b", '(run "a `")\n(run "b")'),
    ("#unknown=x\n#escape=`\nrun a `\nrun b", '(run "a `")\n(run "b")'),
    ("#!/usr/bin/x\n#escape=`\nrun a `\nrun b", '(run "a `")\n(run "b")'),
    ('cmd ["a", "b\\u00e9\\n"]', '(cmd "a" "bé\\n")'),
    ('cmd  [ "a" ] ', '(cmd "a")'),
    ("cmd []", "(cmd)"),
    ('cmd ["a"] b', '(cmd "[\\"a\\"] b")'),
    ("cmd ['a']", "(cmd \"['a']\")"),
    ('cmd ["a",]', '(cmd "[\\"a\\",]")'),
    ('cmd ["\t"]', '(cmd "[\\"\\t\\"]")'),
    ('cmd ["\\ud83d\\ude00"]', '(cmd "😀")'),
    ('cmd ["\\ud83d"]', '(cmd "\ufffd")'),
    ("cmd [1e999]", '(cmd "[1e999]")'),
    ("cmd [NaN]", '(cmd "[NaN]")'),
    ('copy ["a b", "c"]', '(copy "a b" "c")'),
    ("copy ['a b', c]", '(copy "[\'a" "b\'," "c]")'),
    ("copy a\v\fb \t c", '(copy "a" "b" "c")'),
    ('volume ["/a"]\nvolume /a /b', '(volume "/a")\n(volume "/a" "/b")'),
    ("env a b  c", '(env "a" "b  c" "")'),
    ("env a=b c=d", '(env "a" "b" "=" "c" "d" "=")'),
    ("env a=b\\ c 'd e'=f", '(env "a" "b\\\\ c" "=" "\'d e\'" "f" "=")'),
    ("env a=\"x y\" b='x y'", '(env "a" "\\"x y\\"" "=" "b" "\'x y\'" "=")'),
    ("env a=", '(env "a" "" "=")'),
    ("env =a", '(env "" "a" "=")'),
    ("env a=b\\", '(env "a" "b" "=")'),
    ('env a="b\\" c" d=e', '(env "a" "\\"b\\\\\\" c\\"" "=" "d" "e" "=")'),
    ("env a='b\\' c=d", '(env "a" "\'b\\\\\'" "=" "c" "d" "=")'),
    ("env a=b=c", '(env "a" "b=c" "=")'),
    ("env", "(env)"),
    ("label a b=c", '(label "a" "b=c" "")'),
    ("arg a b=c d='e f'", '(arg "a" "b=c" "d=\'e f\'")'),
    ("arg", "(arg)"),
    ("from a AS b", '(from "a" "AS" "b")'),
    ("expose 80  81/udp", '(expose "80" "81/udp")'),
    ("maintainer a  b", '(maintainer "a  b")'),
    ('user "a b"', '(user "\\"a b\\"")'),
    ("workdir", "(workdir)"),
    ('onbuild run ["a"]', '(onbuild (run "a"))'),
    ("onbuild copy --from=a b c", '(onbuild (copy ["--from=a"] "b" "c"))'),
    ("onbuild --x run a", '(onbuild ["--x"] (run "a"))'),
    ("onbuild", "(onbuild)"),
    ("onbuild onbuild run a", '(onbuild (onbuild (run "a")))'),
    ("healthcheck none", '(healthcheck "none")'),
    ("healthcheck --a=1 --b cmd x y", '(healthcheck ["--a=1" "--b"] "cmd" "x y")'),
    ('healthcheck cmd ["x"]', '(healthcheck "cmd" "x")'),
    ("copy --a=b -- --c d", '(copy ["--a=b"] "--c" "d")'),
    ("copy -- a b", '(copy "a" "b")'),
    ('copy --a="b c" --d=e\\ f g h', '(copy ["--a=b c" "--d=e f"] "g" "h")'),
    ("copy --a='b\\'c' d e", '(copy ["--a=b\'c"] "d" "e")'),
    ("run --a\\", '(run ["--a"])'),
    ("run -a b", '(run "-a b")'),
    ("run \\\n  --a \\\n  b", '(run ["--a"] "b")'),
    ("foo bar", '(foo "")'),
    ("\\\nrun a", '(run "a")'),
    ("run a\x00b\x7f\u2028", '(run "a\\x00b\\x7f")'),
    (b"run a\xff", '(run "a\\xff")'),
    (b'run ["a\xff"]', '(run "a\ufffd")'),
    (b"env a=\xff", '(env "a" "\ufffd" "=")'),
]


@pytest.mark.parametrize(("text", "expected"), DUMPS)
def test_dump(text, expected):
    assert dumped(text) == expected


def test_quote_as_go_does():
    assert quote('\a\b\f\n\r\t\v"\\\x1f\x80\u200b\U000e0001é') == (
        '"\\a\\b\\f\\n\\r\\t\\v\\"\\\\\\x1f\\u0080\\u200b\\U000e0001é"'
    )


REFUSED = [
    ("", "file with no instructions", 1),
    ("# only\n\n#comments\n", "file with no instructions", 3),
    ("from a\nenv PATH\n", "ENV must have two arguments", 2),
    ("from a\nlabel x", "LABEL must have two arguments", 2),
    ("from a\nenv a=b \\\n c", 'can\'t find = in "c"', 2),
    ('from a\ncmd ["a", 1]', "strings only", 2),
    ('from a\nrun ["a", null]', "strings only", 2),
    ('from a\nonbuild cmd ["a", ["b"]]', "strings only", 2),
    ("from a\ncmd " + "[" * 60000, "strings only", 2),
    ("from a\nrun <<EOF\na\n", "unterminated heredoc", 2),
    ("from a\nrun <<EOF\n EOF\n", "unterminated heredoc", 2),
    ("from a\ncopy <<A <<B /\nA\nB ", "unterminated heredoc", 2),
    ("#escape=x\nfrom a", "invalid escape token 'x'", 1),
    ("#escape=`\n#escape=`\nfrom a", "only one escape parser directive", 2),
    ("#syntax=a\n#Syntax=b\nfrom a", "only one syntax parser directive", 2),
    ("from a\nrnu b", "unknown instruction: rnu (did you mean run?)", 2),
    ("from a\n  ENRTYPOINT b", "unknown instruction: ENRTYPOINT (did you mean ENTRYPOINT?)", 2),
    ("from a\nonbuild rum b", "unknown instruction: rum (did you mean run?)", 2),
    ("from a\n\\\n", "unknown instruction: ", 2),
    ("from a\n" + "onbuild " * 200, "nested", 2),
    ("from a\nrun " + "x" * 65532, "greater than max allowed size of 65535", 2),
    ("from a\nrun <<X\n" + "é" * 40000 + "\nX", "greater than max allowed size", 3),
]


@pytest.mark.parametrize(("text", "message", "line"), REFUSED, ids=range(len(REFUSED)))
def test_refused_with_a_place(text, message, line):
    error = refused(text)
    assert message in error.message
    assert error.span.line == line
    assert error.source == text.removeprefix("\ufeff")


def test_a_line_of_the_greatest_size_is_read():
    assert len(only("run " + "x" * 65531).value) == 65531


def test_no_hint_for_what_is_like_nothing():
    assert refused("from a\nabracadabra x").hint == ""
    assert refused("from a\nenve x").hint == "did you mean env?"


def test_places_of_instructions_and_flags():
    text = "FROM a\n\nRUN --network=none \\\n  # no\n   --mount=x \\\n b\n"
    first, second = parse(text, "f").nodes
    assert (first.span.line, first.span.end_line) == (1, 1)
    assert (second.span.line, second.span.end_line) == (3, 6)
    network, mount = second.flags
    assert (network.text, network.span.line, network.span.column) == ("--network=none", 3, 5)
    assert network.span.end_column == 5 + len("--network=none")
    assert (mount.text, mount.span.line, mount.span.column) == ("--mount=x", 5, 4)
    assert mount.name == "mount"
    place = second.find("b")
    assert (place.line, place.column, place.end_column) == (6, 2, 3)
    assert second.find("nothing") == second.span


def test_places_in_onbuild_and_indented_lines():
    node = only("  ONBUILD COPY \\\n  --from=x a b")
    assert node.child.flags[0].span.line == 2
    assert node.child.flags[0].span.column == 3
    assert node.find("COPY").column == 11


def test_heredocs():
    node = only("RUN <<A cat <<-'B' 3<<\"C\" <<D\n$a\nA\n\tx\n\t\tB\nc\nC\nD\n")
    assert [(each.name, each.fd, each.expand, each.chomp, each.body) for each in node.heredocs] == [
        ("A", 0, True, False, "$a\n"),
        ("B", 0, False, True, "\tx\n"),
        ("C", 3, False, False, "c\n"),
        ("D", 0, True, False, ""),
    ]
    assert node.heredocs[1].content == "x\n"
    assert (node.heredocs[1].span.line, node.heredocs[1].span.end_line) == (4, 5)
    assert (node.span.line, node.span.end_line) == (1, 8)
    assert node.value == "<<A cat <<-'B' 3<<\"C\" <<D"


HEREDOC_NAMES = [
    ("RUN <<EOF", ["EOF"]),
    ("RUN << EOF", ["EOF"]),
    ("RUN <<-EOF", ["EOF"]),
    ('RUN <<"E F"', ["E F"]),
    ("RUN <<E'O'F", ["EOF"]),
    ("RUN <<$EOF", ["$EOF"]),
    ("RUN <<\\EOF", ["EOF"]),
    ("COPY <<a.txt <<b.txt /", ["a.txt", "b.txt"]),
    ("ADD --chmod=1 <<x /y", ["x"]),
    ("ONBUILD RUN <<EOF", ["EOF"]),
    ("ONBUILD COPY <<x /", ["x"]),
    ("RUN a <<EOF | b", ["EOF"]),
]


@pytest.mark.parametrize(("line", "names"), HEREDOC_NAMES)
def test_heredoc_names(line, names):
    text = line + "\n" + "".join(f"body\n{name}\n" for name in names)
    node = only(text)
    assert [each.name for each in node.heredocs] == names
    if node.child:
        assert node.child.heredocs == node.heredocs


NO_HEREDOCS = [
    "RUN echo '<<EOF'",
    'RUN echo "<<EOF"',
    "RUN cat <<<EOF",
    "RUN a<<EOF",
    "RUN <<",
    "RUN echo $((1<<2))",
    "RUN it's <<EOF",
    'RUN ["<<EOF"]',
    "CMD <<EOF",
    "ENV a=<<EOF",
    "WORKDIR <<EOF",
    "ONBUILD ENV a=<<EOF",
]


@pytest.mark.parametrize("line", NO_HEREDOCS)
def test_no_heredoc(line):
    first, second = parse(line + "\nUSER EOF\n").nodes
    assert first.heredocs == ()
    assert second.keyword == "user"


def test_heredoc_bodies_are_not_instructions():
    first, second = parse("RUN <<A\n# kept\nRUN \\\n\nA\r\nRUN b").nodes
    assert first.heredocs[0].body == "# kept\nRUN \\\n\n"
    assert second.args == ("b",)
    assert second.span.line == 6


def test_a_heredoc_on_a_continued_line_begins_after_it():
    node = only("RUN <<A \\\n  cat\nbody\nA\n")
    assert node.heredocs[0].body == "body\n"
    assert node.args == ("<<A   cat",)


def test_comments_above():
    text = "# one\n#  two \n\nFROM a\n# x\n#\n # y\nRUN b\nRUN c\n"
    assert [node.comments for node in parse(text).nodes] == [("one", "two"), ("# y",), ()]
    assert parse("#syntax=a\n# about\nFROM a").nodes[0].comments == ("about",)


def test_warnings_of_blank_lines_in_continuations():
    (finding,) = parse("RUN a \\\n\n\n b\nRUN c\n").warnings
    assert finding.rule == "NoEmptyContinuation"
    assert finding.span.line == 4


def test_keywords_in_any_case():
    assert [node.keyword for node in parse("FrOm a\nrUN b").nodes] == ["from", "run"]
    assert only("FrOm a").name == "FrOm"
    assert len(KEYWORDS) == 18


DIRECTIVES = [
    ("# syntax=docker/dockerfile:1", "docker/dockerfile:1", "docker/dockerfile:1"),
    ("#SynTax = a/b c=d\n", "a/b", "a/b c=d"),
    ("#escape=`\n# syntax=a\n", "a", "a"),
    ("// syntax=a", "a", "a"),
    ("#!/bin/x\n# syntax=a", "a", "a"),
    ("#!/bin/x\n//syntax=a", "a", "a"),
    ("\ufeff# syntax=a", "a", "a"),
    ('{"syntax": "a b"}', "a b", "a b"),
    ("# syntax=a\n# syntax=b", "a", "a"),
    (" # syntax=a", "", ""),
    ("# x\n# syntax=a", "", ""),
    ("# syntax=", "", ""),
    ('{"syntax": 1}', "", ""),
    ("{" * 100000, "", ""),
]


@pytest.mark.parametrize(("text", "syntax", "cmdline"), DIRECTIVES)
def test_syntax(text, syntax, cmdline):
    found = find("syntax", text, "Dockerfile", any_format=True)
    told = (first_word(found), found.value) if found else ("", "")
    assert told == (syntax, cmdline)


def test_check_directive_and_places():
    text = "#!x\n# check=skip=all\n# syntax=a\nFROM a"
    directives = parse(text).directives
    assert directives.check == "skip=all"
    assert directives.check_span.line == 2
    assert find("syntax", text, "Dockerfile", any_format=True).span.line == 3
    assert parse("// check=skip=all\n".replace("//", "#") + "FROM a").directives.check == "skip=all"


def test_only_one_mark_of_byte_order_is_taken_away():
    assert refused("\ufeff\ufefffrom a").message.startswith("unknown instruction: \ufefffrom")


def test_descriptors_of_heredocs():
    node = only("RUN 0000000000000000000000000007<<A 99999999999999999999999<<B\nA\nB\n")
    assert [each.fd for each in node.heredocs] == [7, 2**64 - 1]
