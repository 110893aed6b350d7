"""The lexer against `dockerfile-parse`, which splits ordinary Dockerfiles on its own terms.

Ordinary means: no heredoc, no blank line or escaped escape in a continuation, no directive but
those it knows. It keeps comments as instructions; they are left out here.
"""

import io

import pytest
from dockerfile_parse import DockerfileParser
from hypothesis import given, settings
from hypothesis import strategies as st

from lazybuild.dockerfile.parse import parse

PIECES = st.sampled_from(
    [
        "RUN a && \\\n    b\n",
        "RUN a \\\n# comment\n    b \\\n  c\n",
        "  run indented\n",
        "# a comment\n",
        "   # another\n",
        "\n",
        "ENV A=b \\\n    C=d\n",
        'CMD ["a", \\\n  "b"]\n',
        "COPY --from=x a \\\n  b  \\  \n /c\n",
        "LABEL a='b c'\r\n",
        "WORKDIR /é\n",
        "Expose 80\n",
        "RUN a `\nRUN b\n",
    ]
)
ORDINARY = st.lists(PIECES, min_size=1, max_size=25).map("".join)
HEADS = st.sampled_from(["", "# syntax=docker/dockerfile:1\n", "# syntax=a\n# escape=\\\n"])


def judged(text):
    oracle = DockerfileParser(fileobj=io.BytesIO(text.encode()))
    return [
        (item["instruction"], item["startline"] + 1, item["endline"] + 1)
        for item in oracle.structure
        if item["instruction"] != "COMMENT"
    ]


def ours(text):
    return [(node.name.upper(), node.span.line, node.span.end_line) for node in parse(text).nodes]


@settings(max_examples=200, deadline=None)
@given(HEADS, ORDINARY)
def test_instructions_and_lines(head, text):
    whole = head + "FROM debian\n" + text
    assert ours(whole) == judged(whole)


@pytest.mark.parametrize(
    ("text", "instructions"),
    [
        ("FROM a\nRUN b \\\n\n  c\n", 2),
        ("FROM a\nRUN b \\\\\nRUN c\n", 3),
        ("FROM a\nRUN <<EOF\nUSER x\nEOF\n", 2),
    ],
)
def test_where_it_can_not_be_the_parser(text, instructions):
    """The reasons that `lexer` gives for having its own rules."""
    assert len(ours(text)) == instructions
    assert judged(text) != ours(text)
