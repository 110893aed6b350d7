"""What the parser hands on: nodes with their text, their parts and where each stands. Values only.

A node is one instruction, split exactly as the reference's parser splits it and no further:
nothing is expanded, no flag is interpreted. `instructions.py` gives nodes their meaning.
Text that is not UTF-8 is kept as surrogate escapes. This module knows nothing but spans.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from lazybuild.errors import Span

KEYWORDS = (
    "add",
    "arg",
    "cmd",
    "copy",
    "entrypoint",
    "env",
    "expose",
    "from",
    "healthcheck",
    "label",
    "maintainer",
    "onbuild",
    "run",
    "shell",
    "stopsignal",
    "user",
    "volume",
    "workdir",
)

_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """`--name=value`, quotes and escapes taken away, and where it stands."""

    text: str
    span: Span

    @property
    def name(self) -> str:
        return self.text[2:].partition("=")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heredoc:
    """One `[fd]<<[-]NAME` and the lines up to its terminator. `span` covers body and terminator."""

    name: str
    fd: int
    expand: bool
    chomp: bool
    body: str
    span: Span

    @property
    def content(self) -> str:
        """The body as a program reads it: without leading tabs where `<<-` asks for that."""
        return _LEADING_TABS.sub("", self.body) if self.chomp else self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """From `offset` on, the logical line was taken from this line and column of the file."""

    offset: int
    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One instruction.

    `args` follows the keyword's own rule: the strings of a JSON array (`json` is true), the
    whole rest as one string, words split at blanks, or, for ENV and LABEL, triples of
    name, value and separator ("=" or, in the old form, ""). Words keep their quotes.
    """

    keyword: str
    """In lower case; one of KEYWORDS unless the document was read without that check."""
    name: str
    """The keyword as it was written."""
    original: str
    """The whole instruction on one line, continuations joined, heredoc bodies left out."""
    value: str
    """What follows keyword and flags, as it was written."""
    flags: tuple[Flag, ...] = ()
    args: tuple[str, ...] = ()
    json: bool = False
    heredocs: tuple[Heredoc, ...] = ()
    child: "Node | None" = None
    """The instruction within ONBUILD; it shares the heredocs of the outer one."""
    span: Span
    comments: tuple[str, ...] = ()
    """The comment lines directly above, without their marks."""
    pieces: tuple[Piece, ...] = field(default=(), repr=False)

    def locate(self, start: int, end: int) -> Span:
        """The place in the file of `original[start:end]`."""
        if not self.pieces or end <= start:
            return self.span
        first, last = self._position(start), self._position(end - 1)
        return Span(
            path=self.span.path,
            line=first[0],
            column=first[1],
            end_line=last[0],
            end_column=last[1] + 1,
        )

    def find(self, text: str) -> Span:
        """The place of the first occurrence of `text`, or the whole node when there is none."""
        at = self.original.find(text) if text else -1
        return self.span if at < 0 else self.locate(at, at + len(text))

    def _position(self, offset: int) -> tuple[int, int]:
        index = bisect_right(self.pieces, offset, key=lambda piece: piece.offset) - 1
        piece = self.pieces[max(index, 0)]
        return piece.line, piece.column + offset - piece.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """`# name=value` at the top of the file; `name` in lower case."""

    name: str
    value: str
    span: Span
    structured: bool = False
    """It comes from a JSON document, where a value has no words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directives:
    """The parser directives but `syntax`, which is for whoever chooses a frontend."""

    escape: str = "\\"
    check: str = ""
    check_span: Span | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check has to say: a rule by the reference's name, a message and a place."""

    rule: str
    message: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One parsed Dockerfile. `source` is its whole text, for excerpts."""

    path: str
    source: str
    nodes: tuple[Node, ...]
    directives: Directives
    warnings: tuple[Finding, ...] = ()

    @property
    def escape(self) -> str:
        return self.directives.escape


def whole_lines(path: str, first: int, last: int) -> Span:
    return Span(path=path, line=first, end_line=max(first, last))


def words_of(items: Iterable[str]) -> tuple[tuple[str, str, str], ...]:
    """The name, value, separator triples of an ENV or LABEL node."""
    flat = tuple(items)
    return tuple(zip(flat[0::3], flat[1::3], flat[2::3], strict=True))
