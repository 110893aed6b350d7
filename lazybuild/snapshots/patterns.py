"""The include and exclude lists of file operations, as moby/patternmatcher has them. Pure.

Whole paths from the root, `!` negates, a match of a directory holds for all below it, the last
match wins. What one pattern matches is `llb.patterns`' to say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lazybuild.errors import BuildError
from lazybuild.llb.patterns import BadPatternError, Pattern, compile_pattern, go_match
from lazybuild.snapshots import paths

SHOWN = 200  # characters of a pattern in an error

Matched = tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class _Pattern:
    pattern: Pattern
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
                hit = pattern.pattern.matches(path)
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
    negated = text.startswith("!")
    body = paths.clean(text[negated:].strip())
    if not body:
        raise BuildError(f"syntax error in pattern: {text}")
    try:
        compiled = compile_pattern(body)
    except BadPatternError as error:
        raise BuildError(f"syntax error in pattern: {text[:SHOWN]}: {error}") from error
    return _Pattern(compiled, negated, tuple(body.split("/")))
