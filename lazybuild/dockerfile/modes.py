"""--chmod: octal, or the symbolic form of chmod(1). Pure."""

import re

_CLAUSE = re.compile(r"[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+", re.ASCII)
_HIGHEST = 0o7777
KEEP = -1


def parse_mode(text: str) -> tuple[int, str]:
    """The mode as a number, or -1 and the symbolic form. Raises ValueError."""
    if not text:
        return KEEP, ""
    if text.isascii() and text.isdigit():
        return _octal(text), ""
    if not all(_CLAUSE.fullmatch(clause) for clause in text.split(",")):
        raise ValueError(f"invalid chmod parameter: '{text}'")
    return KEEP, text


def _octal(text: str) -> int:
    if text.strip("01234567") or int(text[:20], 8) > _HIGHEST:
        raise ValueError(
            f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
        )
    return int(text, 8)
