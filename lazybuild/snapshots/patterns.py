"""Patterns over names: Go's `filepath.Match`, and the include and exclude lists of file operations.

Sources: Go path/filepath Match; moby/patternmatcher (whole path from the root, `**` for any depth,
`!` negates, a match of a directory holds for all below it, the last match wins). Pure. Expressions
are compiled without nested repetition, so matching stays polynomial in the name's length.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from lazybuild.errors import BuildError
from lazybuild.snapshots import paths

MAX_PATTERN = 4096
_WILD = frozenset("*?[")
_STAR = "*"
_DOUBLE = (".*", "(?:.*/)?")

Matched = tuple[bool, ...]


def has_wildcard(text: str) -> bool:
    """Whether Go's filepath.Match would read more than a literal in `text`."""
    escaped = False
    for char in text:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in _WILD:
            return True
    return False


def go_match(pattern: str, name: str) -> bool:
    """filepath.Match; a malformed pattern matches nothing."""
    expression = _glob(pattern)
    return expression is not None and expression.match(name) is not None


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str] | None:
    text = _translate(pattern, double_star=False)
    return None if text is None else re.compile(text, re.DOTALL)


def _translate(pattern: str, *, double_star: bool) -> str | None:
    """A regular expression for a pattern, None if it is malformed."""
    pieces = _pieces(pattern, double_star=double_star)
    if not all(pieces):
        return None
    out: list[str] = []
    for index, piece in enumerate(pieces):
        if piece == _STAR and _next_stop(pieces, index + 1) == _STAR:
            out.append("(?>[^/]*?")  # the first place that fits is as good as any: no way back
        elif piece == _STAR:
            out.append("[^/]*")
        else:
            out.append(piece)
        if pieces[index + 1 : index + 2] == [_STAR] and _inside_star(pieces, index):
            out.append(")")
    return "".join(out) + r"\Z"


def _next_stop(pieces: list[str], start: int) -> str:
    """The next star or separator from `start` on."""
    stops = (piece for piece in pieces[start:] if piece in (_STAR, "/") or piece in _DOUBLE)
    return next(stops, "")


def _inside_star(pieces: list[str], index: int) -> bool:
    """Whether a star opened a group that `pieces[index]`, before the next star, is the end of."""
    before = (p for p in reversed(pieces[: index + 1]) if p in (_STAR, "/") or p in _DOUBLE)
    return next(before, "") == _STAR


def _pieces(pattern: str, *, double_star: bool) -> list[str]:
    """An expression for each element, a star as itself; "" for what is malformed."""
    out: list[str] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        if char == "*":
            piece, position = _star(pattern, position, double_star=double_star)
        elif char == "?":
            piece, position = "[^/]", position + 1
        elif char == "[":
            piece, position = _char_class(pattern, position)
        elif char == "\\":
            piece, position = re.escape(pattern[position + 1 : position + 2]), position + 2
        else:
            piece, position = re.escape(char), position + 1
        if piece != _STAR or out[-1:] != [_STAR]:
            out.append(piece)
    return out


def _star(pattern: str, position: int, *, double_star: bool) -> tuple[str, int]:
    end = position + 1
    if not double_star or pattern[end : end + 1] != "*":
        return _STAR, end
    end += 1
    if pattern[end : end + 1] == "/":
        end += 1
    return (_DOUBLE[0], end) if end == len(pattern) else (_DOUBLE[1], end)


def _char_class(pattern: str, position: int) -> tuple[str, int]:
    """`[...]` from `position` on: its expression and where it ends; "" if it is malformed."""
    position += 1
    negated = pattern[position : position + 1] == "^"
    position += negated
    ranges: list[str] = []
    while pattern[position : position + 1] != "]" or not ranges:
        low, position = _class_char(pattern, position)
        high = low
        if pattern[position : position + 1] == "-":
            high, position = _class_char(pattern, position + 1)
        if not low or not high:
            return "", position
        ranges.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    body = "".join(ranges)
    if negated:
        return f"[^/{body}]", position + 1
    return (f"(?!/)[{body}]" if body else "(?!)"), position + 1


def _class_char(pattern: str, position: int) -> tuple[str, int]:
    char = pattern[position : position + 1]
    if char in ("-", "]"):
        return "", position
    if char == "\\":
        return pattern[position + 1 : position + 2], position + 2
    return char, position + 1


@dataclass(frozen=True, slots=True)
class _Pattern:
    expression: re.Pattern[str]
    negated: bool
    segments: tuple[str, ...]


class Patterns:
    """An ordered list of patterns with `!` for exceptions."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._patterns = tuple(
            _compile(stripped) for text in texts if (stripped := text.strip()) not in ("", "/")
        )
        self.empty = not self._patterns

    def match(self, path: str, above: Matched = ()) -> tuple[bool, Matched]:
        """Whether `path` is meant, given what was found for the directory it is in ("" : ())."""
        matched = False
        found: list[bool] = []
        for index, pattern in enumerate(self._patterns):
            hit = bool(above) and above[index]
            if not hit and pattern.negated == matched:
                hit = pattern.expression.match(path) is not None
            found.append(hit)
            if hit:
                matched = not pattern.negated
        return matched, tuple(found)

    def match_deep(self, path: str) -> bool:
        """Whether `path` is meant, when nothing is known of the directories above it."""
        above: Matched = ()
        for directory in paths.ancestors(path):
            _, above = self.match(directory, above)
        return self.match(path, above)[0]

    def reaches_below(self, directory: str, *, negated: bool = False) -> bool:
        """Whether a pattern of that sort could match a name inside `directory`."""
        parts = directory.split("/")
        return any(
            _reaches(pattern.segments, parts)
            for pattern in self._patterns
            if pattern.negated == negated
        )


def _reaches(segments: tuple[str, ...], parts: list[str]) -> bool:
    for segment, part in zip(segments, parts, strict=False):
        if "**" in segment:
            return True
        if not go_match(segment, part):
            return False
    return True


def _compile(text: str) -> _Pattern:
    if len(text) > MAX_PATTERN:
        raise BuildError(f"a pattern of {len(text)} characters is too long: {text[:40]!r}...")
    negated = text.startswith("!")
    body = paths.clean(text[negated:].strip())
    expression = _translate(body, double_star=True)
    if expression is None or not body:
        raise BuildError(f"syntax error in pattern: {text}")
    compiled = re.compile(expression, re.DOTALL)
    return _Pattern(compiled, negated, tuple(body.split("/")))
