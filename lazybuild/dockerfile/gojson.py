"""JSON and tables as the reference prints them: indented, HTML-escaped; columns padded. Pure."""

import base64
import json
from collections.abc import Sequence

from lazybuild.dockerfile.characters import encode, replaced
from lazybuild.errors import Span

Json = str | int | bool | None | list["Json"] | dict[str, "Json"]

_ESCAPED = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def indented(value: Json) -> str:
    """As json.MarshalIndent with two blanks. Empty members are to be left out by the caller."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return replaced(text).translate(_ESCAPED)


def content(source: str) -> str:
    """Bytes are base64 in Go's JSON."""
    return base64.b64encode(encode(source)).decode("ascii")


def location(span: Span) -> Json:
    """One range for each line."""
    numbers = range(span.line, max(span.line, span.end_line) + 1)
    return {"ranges": [{"start": {"line": at}, "end": {"line": at}} for at in numbers]}


def without_empty(members: dict[str, Json]) -> dict[str, Json]:
    """What `omitempty` leaves."""
    return {name: value for name, value in members.items() if value}


def table(rows: Sequence[Sequence[str]], padding: int) -> str:
    """As text/tabwriter lays it out: every column but the last is padded, even when empty."""
    widths = [max(map(len, column)) + padding for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        *cells, last = row
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=False))
        lines.append("".join(padded) + last + "\n")
    return "".join(lines)
