"""What outline, targets and lint print, in text and JSON, and the excerpt they share."""

import base64
import json

import pytest
from support.dockerfiles import AMD64, Images

from lazybuild.dockerfile.checks import check
from lazybuild.dockerfile.excerpt import excerpt
from lazybuild.dockerfile.lint import lint_error_text, lint_json, lint_status, lint_text
from lazybuild.dockerfile.options import CompileOptions
from lazybuild.dockerfile.outline import outline, outline_json, outline_text
from lazybuild.dockerfile.parse import parse
from lazybuild.dockerfile.targets import targets_json, targets_text
from lazybuild.errors import DockerfileError, Span

TEXT = """\
# VERSION of the base
ARG VERSION=12
ARG TAG=v${VERSION}
ARG UNUSED=x
# base has the tools
FROM debian:${TAG} AS base
ARG VERSION
RUN --mount=type=secret,id=token,required a
FROM base AS build
# JOBS at a time
ARG JOBS=4 MODE
RUN --mount=type=ssh --mount=type=secret,target=/x/netrc b
FROM scratch AS other
ARG OTHER=1
# app is <it>
FROM scratch AS app
ARG GREETING="hello $NAME"
COPY --from=build /a /b
"""


def options(**given):
    return CompileOptions(build_platform=AMD64, **given)


def lines(text):
    return text.split("\n")


def test_outline_of_everything_the_target_is_made_from():
    found = outline(parse(TEXT), options(build_args={"MODE": "fast"}))
    assert lines(outline_text(found)) == [
        "TARGET:      app",
        "DESCRIPTION: is <it>",
        "",
        "BUILD ARG   VALUE    DESCRIPTION",
        "VERSION     12       of the base",
        "TAG         v12      ",
        "JOBS        4        at a time",
        "MODE        fast     ",
        "GREETING    hello    ",
        "",
        "SECRET   REQUIRED",
        "token    true",
        "netrc    ",
        "",
        "SSH       REQUIRED",
        "default   ",
        "",
        "",
    ]


def test_outline_of_a_target():
    found = outline(parse(TEXT), options(target="other", build_args={"OTHER": "2"}))
    assert [(each.name, each.value) for each in found.arguments] == [("OTHER", "2")]
    assert found.secrets == ()
    with pytest.raises(DockerfileError, match="could not be found"):
        outline(parse(TEXT), options(target="nothing"))


def test_outline_without_anything():
    found = outline(parse("FROM scratch"), options())
    assert outline_text(found) == ""
    assert list(json.loads(outline_json(found, parse("FROM scratch")))) == ["sources"]


def test_outline_as_json():
    document = parse(TEXT)
    text = outline_json(outline(document, options()), document)
    value = json.loads(text)
    assert list(value) == ["name", "description", "args", "secrets", "ssh", "sources"]
    assert value["args"][0] == {
        "name": "VERSION",
        "description": "of the base",
        "value": "12",
        "location": {"ranges": [{"start": {"line": 2}, "end": {"line": 2}}]},
    }
    assert value["secrets"][0]["required"] is True
    assert "required" not in value["secrets"][1]
    assert base64.b64decode(value["sources"][0]).decode() == TEXT
    assert "\\u003cit\\u003e" in text


def test_targets():
    text = "# a makes a\nFROM debian AS a\nFROM --platform=$BUILDPLATFORM a AS b\nFROM scratch\n"
    assert targets_text(parse(text)) == (
        "TARGET    DESCRIPTION\na         makes a\nb         \n(default) \n"
    )
    value = json.loads(targets_json(parse(text)))
    assert [list(target) for target in value["targets"]] == [
        ["name", "description", "base", "location"],
        ["name", "base", "platform", "location"],
        ["default", "base", "location"],
    ]
    assert value["targets"][1]["platform"] == "$BUILDPLATFORM"
    named = targets_text(parse("FROM debian AS a"))
    assert named == "TARGET      DESCRIPTION\na (default) \n"


def test_lint_text():
    report = check(
        parse("FROM debian AS A\nRUN a\nRUN b\nRUN c\nRUN d\nRUN e"), options(), Images()
    )
    assert lint_status(report) == 1
    assert lines(lint_text(report)) == [
        "",
        "WARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/stage-name-casing/",
        "Stage name 'A' should be lowercase",
        "Dockerfile:1",
        "--------------------",
        "   1 | >>> FROM debian AS A",
        "   2 |     RUN a",
        "   3 |     RUN b",
        "--------------------",
        "",
    ]
    assert lint_error_text(report) == ""


def test_lint_json():
    report = check(parse("FROM debian AS A\n"), options(), Images())
    value = json.loads(lint_json(report))
    assert list(value["warnings"][0]) == ["ruleName", "description", "url", "detail", "location"]
    assert value["sources"][0]["filename"] == "Dockerfile"
    assert "buildError" not in value
    clean = check(parse("FROM debian\n"), options(), Images())
    assert json.loads(lint_json(clean))["warnings"] is None
    assert lint_status(clean) == 0


def test_lint_of_what_does_not_build():
    report = check(parse("FROM debian\nCOPY a b c/\nUSER ${\n"), options(), Images())
    assert lint_status(report) == 1
    assert "missing '}'" in lint_error_text(report)
    assert "   3 | >>> USER ${" in lint_error_text(report)
    located = json.loads(lint_json(report))["buildError"]["location"]
    assert located["ranges"][0]["start"]["line"] == 3


def span(line, end=0, column=0, end_column=0):
    return Span(path="f", line=line, end_line=end or line, column=column, end_column=end_column)


SOURCE = "".join(f"line {number}\n" for number in range(1, 10))


@pytest.mark.parametrize(
    ("place", "numbers"),
    [
        (span(1), [1, 2, 3]),
        (span(5), [3, 4, 5, 6, 7]),
        (span(9), [7, 8, 9, 10]),
        (span(4, 6), [3, 4, 5, 6, 7]),
        (span(8, 90), [7, 8, 9, 10]),
    ],
)
def test_excerpt_shows_lines_around(place, numbers):
    shown = lines(excerpt(SOURCE, place))[2:-2]
    assert [int(line.split("|")[0]) for line in shown] == numbers


def test_excerpt_marks_and_underlines():
    text = "FROM a\n\tRUN --x=y b\n"
    assert lines(excerpt(text, span(2, column=6, end_column=11)))[2:5] == [
        "   1 |     FROM a",
        "   2 | >>> \tRUN --x=y b",
        "     |     \t    ^^^^^",
    ]
    assert "^" not in excerpt(text, span(2, column=6, end_column=11), underline=False)


def test_excerpt_of_nowhere_and_of_control_characters():
    assert excerpt("a", span(2)) == ""
    assert excerpt("", span(0)) == ""
    assert "\x1b" not in excerpt("RUN \x1b[2J\u202e", span(1))
    assert "RUN \ufffd[2J\ufffd" in excerpt("RUN \x1b[2J\u202e\r\n", span(1))
    assert lines(excerpt("a\x0bb\x85c\nd", span(2)))[3] == "   2 | >>> d"
