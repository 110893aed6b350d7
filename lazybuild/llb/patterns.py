r"""One pattern against one path: moby/patternmatcher's, and Go's filepath.Match. Pure.

`*` and `?` stay within a name, `**` takes any depth, `[…]` and `[^…]` are classes (which may take
a `/`), `\` makes the next character literal. A pattern that begins with `**` and has no other wild
part matches by its end alone, so `**o` takes `foo` too. Matching walks a set of states, held as
the bits of a number, over the path: no pattern can make it slow. filepath.Match has no `**`.
"""

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import lru_cache

_WITHIN = r"(?P<star>\*)|(?P<one>\?)|(?P<open>\[)|\\(?P<escaped>.?)|."
_SHALLOW = re.compile(_WITHIN, re.DOTALL)
_TOKEN = re.compile(rf"(?P<deep>\*\*/?)|{_WITHIN}", re.DOTALL)
_CLASS_CHAR = re.compile(r"\\(.)|([^\\\]\-])", re.DOTALL)


MOVES = 4096
"""Steps of a pattern that are remembered; beyond it begins anew, however the paths are made."""
MAX_PATTERN = 4096
"""Characters of one, as of a path."""


class BadPatternError(ValueError):
    """The pattern can't be read; the message says why."""


@dataclass(frozen=True, slots=True)
class CharClass:
    ranges: tuple[tuple[str, str], ...]
    negated: bool = False

    def __contains__(self, char: str) -> bool:
        return any(low <= char <= high for low, high in self.ranges) != self.negated


NOTHING = CharClass(())
ANYTHING = CharClass((), negated=True)
SLASH = CharClass((("/", "/"),))
NOT_SLASH = CharClass(SLASH.ranges, negated=True)


class Sort(Enum):
    EXACT = auto()
    PREFIX = auto()
    SUFFIX = auto()
    WILD = auto()


@dataclass(slots=True)
class Pattern:
    """Compiled. In state i, the first i steps are done."""

    text: str
    sort: Sort = Sort.EXACT
    steps: list[CharClass] = field(default_factory=list)
    loops: dict[int, CharClass] = field(default_factory=dict)
    """What a state takes without going on."""
    deep: list[int] = field(default_factory=list)
    """States in which `**` begins: it takes nothing, or anything up to and with a slash."""
    head: str = ""
    tail: str = ""
    """How a path has to begin and to end: most are told by that."""
    moves: dict[tuple[int, str], int] = field(default_factory=dict)
    """Of a set of states and a character that were met: the states it leads to."""

    def matches(self, path: str) -> bool:
        match self.sort:
            case Sort.EXACT:
                return path == self.text
            case Sort.PREFIX:
                return path.startswith(self.text[:-2])
            case Sort.SUFFIX:
                end = self.text[2:]
                return path.endswith(end) or (end[:1] == "/" and path == end[1:])
        return path.startswith(self.head) and path.endswith(self.tail) and self._walk(path)

    def _walk(self, path: str) -> bool:
        state, moves = self._closed(1), self.moves
        for char in path:
            following = moves.get((state, char))
            state = self._move(state, char) if following is None else following
        return bool(state >> len(self.steps) & 1)

    def _move(self, state: int, char: str) -> int:
        on = sum(1 << at for at, step in enumerate(self.steps) if char in step)
        stay = sum(1 << at for at, loop in self.loops.items() if char in loop)
        if len(self.moves) >= MOVES:
            self.moves.clear()
        following = self._closed((state & on) << 1 | (state & stay))
        self.moves[state, char] = following
        return following

    def _closed(self, state: int) -> int:
        for at in self.deep:
            state |= (state >> at & 1) * 0b110 << at
        return state


def has_wildcard(text: str) -> bool:
    """Whether filepath.Match would read more than a literal in `text`."""
    return any(token.lastgroup in ("star", "one", "open") for token in _SHALLOW.finditer(text))


def go_match(pattern: str, name: str) -> bool:
    """filepath.Match; a malformed pattern matches nothing."""
    compiled = _shallow(pattern)
    return compiled is not None and compiled.matches(name)


@lru_cache(maxsize=1024)
def _shallow(text: str) -> Pattern | None:
    try:
        return compile_pattern(text, _SHALLOW)
    except BadPatternError:
        return None


def compile_pattern(text: str, tokens: re.Pattern[str] = _TOKEN) -> Pattern:
    """Fails with BadPatternError on what Go's filepath.Match or its regexp would refuse, and on
    what is longer than a path can be: each state costs time at each name.
    """
    if len(text) > MAX_PATTERN:
        raise BadPatternError(f"it is too long, with {len(text)} characters")
    pattern = Pattern(text=text)
    position = 0
    while position < len(text):
        token = tokens.match(text, position)
        if token is None:
            raise BadPatternError("syntax error in pattern")
        position = _add(pattern, token, text)
    return pattern


def _add(pattern: Pattern, token: re.Match[str], text: str) -> int:
    """One token onto the pattern; the place where the next one begins."""
    end = token.end()
    if token.lastgroup not in (None, "escaped"):
        pattern.tail = ""
    match token.lastgroup:
        case "deep":
            _add_deep(pattern, at_start=token.start() == 0, at_end=end == len(text))
        case "star":
            pattern.loops[len(pattern.steps)] = NOT_SLASH
            pattern.sort = Sort.WILD
        case "one":
            pattern.steps.append(NOT_SLASH)
            pattern.sort = Sort.WILD
        case "open":
            step, end = _char_class(text, end)
            pattern.steps.append(step)
            pattern.sort = Sort.WILD
        case "escaped":
            if not token["escaped"]:
                raise BadPatternError("a backslash at the end escapes nothing")
            _add_literal(pattern, token["escaped"])
            pattern.sort = Sort.WILD
        case _:
            _add_literal(pattern, token[0])
    return end


def _add_deep(pattern: Pattern, *, at_start: bool, at_end: bool) -> None:
    at = len(pattern.steps)
    if at_end:
        pattern.loops[at] = ANYTHING
        pattern.sort = Sort.PREFIX if pattern.sort is Sort.EXACT else Sort.WILD
    else:
        pattern.deep.append(at)
        pattern.loops[at + 1] = ANYTHING
        pattern.steps += [NOTHING, SLASH]
        pattern.sort = Sort.WILD
    if at_start:
        pattern.sort = Sort.SUFFIX


def _add_literal(pattern: Pattern, char: str) -> None:
    pattern.steps.append(_literal(char))
    pattern.tail += char
    if pattern.sort is Sort.EXACT:
        pattern.head += char


def _literal(char: str) -> CharClass:
    return CharClass(((char, char),))


def _char_class(text: str, position: int) -> tuple[CharClass, int]:
    """What stands after `[`, and where it ends."""
    negated = text.startswith("^", position)
    position += negated
    ranges: list[tuple[str, str]] = []
    while not text.startswith("]", position) or not ranges:
        low, position = _class_char(text, position)
        high = low
        if text.startswith("-", position):
            high, position = _class_char(text, position + 1)
        if low > high:
            raise BadPatternError(f"the range {low}-{high} is empty")
        ranges.append((low, high))
    return CharClass(tuple(ranges), negated), position + 1


def _class_char(text: str, position: int) -> tuple[str, int]:
    match = _CLASS_CHAR.match(text, position)
    if match is None:
        raise BadPatternError("syntax error in a character class")
    return match[1] or match[2], match.end()
