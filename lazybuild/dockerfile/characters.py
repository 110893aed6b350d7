"""Bytes to text and what counts as white space, as the reference has it. Pure.

The reference works on bytes and on Go's `unicode.IsSpace`, which differs from `str.isspace`
(no U+001C to U+001F). Bytes that are not UTF-8 become surrogate escapes here, so that none is lost.
"""

SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029"
SPACE += "\u202f\u205f\u3000"
SPACES = frozenset(SPACE)

BLANK = r"[\t\v\f\r ]"
"""What separates words (a regular expression); a line has no newline inside."""

BOM = "\ufeff"


def decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def replaced(text: str) -> str:
    """Every byte that is not UTF-8 as U+FFFD: what the reference's rune readers make of it."""
    if text.isascii():
        return text
    return "".join("\ufffd" if "\udc80" <= char <= "\udcff" else char for char in text)


def physical_lines(text: str) -> list[str]:
    """Lines with their ends; only a newline ends a line, unlike `str.splitlines`."""
    lines = text.split("\n")
    last = lines.pop()
    ended = [line + "\n" for line in lines]
    return [*ended, last] if last else ended
