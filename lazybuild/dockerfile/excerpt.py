"""A place in a source as people see it: numbered lines around it, the place marked. Pure.

The frame is the reference's. Underlining is ours: it is added where the place is a part of one
line. Control characters are shown as U+FFFD, so that a file can't take over the terminal, and
passwords in URLs not at all. (History keeps them, as the reference does.)
"""

import re

from lazybuild.errors import Span

_RULE = "-" * 20
_AROUND = 4
"""How many lines stand around a single line (half of it around several)."""
_LONGEST = 2000
"""How much of a line is shown."""
_MASK = "xxxxx"
_TOKEN = re.compile(r"(https?://)[^\s/@\"']+@", re.IGNORECASE)
_PASSWORD = re.compile(r"([a-z][a-z0-9+.-]{0,15}://[^\s/:@\"']*):[^\s/@\"']+@", re.IGNORECASE)


def excerpt(source: str, span: Span, *, underline: bool = True) -> str:
    """`path:line`, a rule, the lines, a rule; empty when the span is not in the source."""
    lines = source.split("\n")
    if not 1 <= span.line <= len(lines):
        return ""
    start, end = span.line, max(span.line, min(span.end_line, len(lines)))
    first, last = _window(start, end, len(lines))
    shown = [f"{span.path}:{start}", _RULE]
    for number in range(first, last + 1):
        line = masked(_printable(lines[number - 1].rstrip("\r")))[:_LONGEST]
        mark = ">>>" if start <= number <= end else "   "
        shown.append(f" {number:3} | {mark} {line}")
        if underline and number == start == span.end_line and span.column:
            shown.append(f"     |     {_underline(line, span)}")
    return "\n".join([*shown, _RULE, ""])


def _window(start: int, end: int, count: int) -> tuple[int, int]:
    """The lines to show: the reference's way of spending its padding on both sides in turn."""
    wanted = _AROUND if start == end else _AROUND // 2
    spent = 0
    while spent < wanted:
        if start > 1:
            start -= 1
            spent += 1
        if end != count:
            end += 1
            spent += 1
        spent += 1
    return start, end


def _underline(line: str, span: Span) -> str:
    before = "".join(char if char == "\t" else " " for char in line[: span.column - 1])
    width = min(span.end_column, len(line) + 1) - span.column
    return before + "^" * max(width, 1)


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in line)


def masked(text: str) -> str:
    """Without passwords in URLs, and without the users of http(s), who may be tokens."""
    return _PASSWORD.sub(rf"\1:{_MASK}@", _TOKEN.sub(rf"\1{_MASK}@", text))
