"""Ignore files: from their bytes to patterns, and whether a path of the context is left out. Pure.

The last pattern that matches a path or a directory above it decides; `!` takes back in. Reading
them (the two names, the remote contexts without any) is the business of whoever has files.
Reference: moby/patternmatcher.
"""

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from lazybuild.dockerfile.characters import BOM, SPACE, decode, physical_lines
from lazybuild.dockerfile.nodes import whole_lines
from lazybuild.errors import DockerfileError
from lazybuild.llb.patterns import BadPatternError, Pattern, compile_pattern

SHOWN = 200  # characters of a pattern in an error
_EVERYTHING = frozenset({"*", "**", "**/*"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    pattern: Pattern
    negated: bool


@dataclass(frozen=True, slots=True)
class IgnoreRules:
    """The patterns of one ignore file, compiled."""

    rules: tuple[Rule, ...]

    @classmethod
    def of(cls, patterns: Iterable[str]) -> Self:
        return cls(tuple(rule for text in patterns if (rule := _rule(text))))

    @property
    def has_exceptions(self) -> bool:
        return any(rule.negated for rule in self.rules)

    @property
    def takes_everything(self) -> bool:
        """A pattern leaves out every name at the root of the context."""
        return any(not rule.negated and rule.pattern.text in _EVERYTHING for rule in self.rules)

    def excludes(self, path: str) -> bool:
        """Whether `path` (relative, with slashes) is left out, by itself or by a parent."""
        names = [path, *_parents(path)]
        excluded = False
        for rule in self.rules:
            if rule.negated == excluded and any(map(rule.pattern.matches, names)):
                excluded = not rule.negated
        return excluded


def read_patterns(data: bytes, path: str) -> tuple[str, ...]:
    """The patterns of an ignore file, cleaned; a malformed one is an error with its line."""
    text = decode(data).removeprefix(BOM)
    patterns: list[str] = []
    for number, line in enumerate(physical_lines(text), 1):
        pattern = _cleaned(line)
        if not pattern:
            continue
        try:
            _rule(pattern)
        except BadPatternError as error:
            span = whole_lines(path, number, number)
            raise DockerfileError(
                f'bad pattern "{pattern[:SHOWN]}": {error}', span=span, source=text
            ) from None
        patterns.append(pattern)
    return tuple(patterns)


def _cleaned(line: str) -> str:
    """A line without comment, blanks, `..` and leading slash; the `!` stays in front."""
    if line.startswith("#"):
        return ""
    pattern = line.strip(SPACE)
    mark = "!" if pattern.startswith("!") else ""
    pattern = pattern.removeprefix(mark).strip(SPACE) if mark else pattern
    if not pattern:
        return mark
    pattern = clean(pattern)
    if len(pattern) > 1:
        pattern = pattern.removeprefix("/")
    return mark + pattern


def clean(path: str) -> str:
    """Go's filepath.Clean: posixpath's, but for two leading slashes, which are one."""
    if not path:
        return "."
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _rule(text: str) -> Rule | None:
    """Cleaned once more, as the reference does: a list of patterns may come from elsewhere."""
    stripped = text.strip(SPACE)
    if not stripped:
        return None
    pattern = clean(stripped)
    if pattern == "!":
        raise BadPatternError("! has nothing to take back")
    negated = pattern.startswith("!")
    return Rule(pattern=compile_pattern(pattern.removeprefix("!")), negated=negated)


def _parents(path: str) -> Iterator[str]:
    at = path.find("/", 1)
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)
