r"""Patterns of `${name#pattern}` and its like: `*`, `?`, and nothing else. Pure.

Matching is a bit-parallel walk over the text (one step a character, whatever the pattern), so
that no pattern is slow; a backtracking regular expression would be. Neither `*` nor `?` takes a
newline. `\*`, `\?` and `\\` are literal; `\}` and `\/` are how `}` and `/` get into a pattern.
"""

import re
from collections import defaultdict
from dataclasses import dataclass

from lazybuild.errors import DockerfileError

ANY = "?"
STAR = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Glob:
    """Bit i stands for "the first i tokens have matched"; a star is a loop on its bit."""

    steps: dict[str, int]
    """Of a character: the bits from which it leads one further."""
    wild: int
    """The bits from which any character but a newline leads one further."""
    stars: int
    """The bits that any character but a newline leaves as they are."""
    length: int

    def ends(self, text: str, start: int = 0) -> tuple[int, int] | None:
        """The first and the last place where a match that begins at `start` can end."""
        accept = 1 << self.length
        state, first, last = 1, -1, -1
        for at in range(start, len(text) + 1):
            if state & accept:
                first, last = (at if first < 0 else first), at
            if not state or at == len(text):
                break
            state = self.step(state, text[at])
        return None if first < 0 else (first, last)

    def step(self, state: int, char: str) -> int:
        moves = self.steps.get(char, 0)
        if char == "\n":
            return (state & moves) << 1
        return (state & self.stars) | (state & (moves | self.wild)) << 1


def compile_glob(pattern: str) -> Glob:
    return _assemble(_tokens(pattern))


def shortest_prefix(pattern: str, text: str) -> int:
    """The length of the shortest prefix that matches, 0 when none does."""
    ends = compile_glob(pattern).ends(text)
    return ends[0] if ends else 0


def longest_prefix(pattern: str, text: str) -> int:
    ends = compile_glob(pattern).ends(text)
    return ends[1] if ends else 0


def trim_prefix(pattern: str, text: str, *, greedy: bool) -> str:
    cut = longest_prefix(pattern, text) if greedy else shortest_prefix(pattern, text)
    return text[cut:]


def trim_suffix(pattern: str, text: str, *, greedy: bool) -> str:
    """A suffix is a prefix of the reversed text; escapes stay before what they escape."""
    mirrored = "".join(reversed(re.findall(r"\\.|.", pattern, re.DOTALL)))
    return trim_prefix(mirrored, text[::-1], greedy=greedy)[::-1]


def matches(pattern: str, text: str) -> list[tuple[int, int]]:
    """All matches, leftmost first and as long as can be; an empty one never abuts another."""
    glob = compile_glob(pattern)
    begins = _begins(pattern, text)
    found: list[tuple[int, int]] = []
    at = 0
    while at <= len(text):
        ends = glob.ends(text, at) if begins[at] else None
        if ends is None:
            at += 1
        elif ends[1] > at:
            found.append((at, ends[1]))
            at = ends[1]
        else:
            if not found or found[-1][1] != at:
                found.append((at, at))
            at += 1
    return found


def _begins(pattern: str, text: str) -> list[bool]:
    """For each place in the text: can a match begin here? One walk from the end."""
    glob = _assemble(list(reversed(_tokens(pattern))))
    accept = 1 << glob.length
    found = [False] * (len(text) + 1)
    state = 1
    found[-1] = bool(state & accept)
    for at in range(len(text) - 1, -1, -1):
        state = glob.step(state, text[at]) | 1
        found[at] = bool(state & accept)
    return found


@dataclass(frozen=True, slots=True)
class _Token:
    char: str
    special: bool


def _tokens(pattern: str) -> list[_Token]:
    tokens: list[_Token] = []
    chars = iter(pattern)
    for char in chars:
        if char != "\\":
            tokens.append(_Token(char, char in (ANY, STAR)))
            continue
        escaped = next(chars, "")
        if escaped not in {"}", "/", ANY, STAR, "\\"}:
            raise DockerfileError(
                f"invalid pattern ({pattern}) in substitution: invalid escape '\\{escaped}'"
            )
        tokens.append(_Token(escaped, special=False))
    return tokens


def _assemble(tokens: list[_Token]) -> Glob:
    steps: defaultdict[str, int] = defaultdict(int)
    wild = stars = length = 0
    for token in tokens:
        if token.special and token.char == STAR:
            stars |= 1 << length
            continue
        if token.special:
            wild |= 1 << length
        else:
            steps[token.char] |= 1 << length
        length += 1
    return Glob(steps=dict(steps), wild=wild, stars=stars, length=length)
