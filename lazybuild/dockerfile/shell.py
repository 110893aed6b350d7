"""Variable expansion and word splitting: the reference's subset of the shell. Pure.

One left-to-right walk; `${…}` words are walked by the same rules, one level deeper. The result
has both forms, the text and the words it falls into, because splitting happens during expansion.
Names that were looked up are reported, so that checks can speak of unset ones.

A quirk of the reference is kept: a `${name:-word}` form drops what was gathered of the word
before it when splitting into words (the text is unharmed).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lazybuild.dockerfile.characters import BOM, SPACES, replaced
from lazybuild.dockerfile.globs import matches, trim_prefix, trim_suffix
from lazybuild.errors import DockerfileError

MAX_DEPTH = 64
"""Of `${a:-${b:-…}}`. The reference has no bound but its stack; nobody nests ten deep."""

_SPECIAL_PARAMETERS = frozenset("@*#?-$!0")
_HEREDOC_BLANKS = frozenset("\t\r ")
_TEMPLATE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")
_PATTERN_MODIFIERS = frozenset("#%")
_MODIFIERS = frozenset(":+-?#%")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How one kind of text is walked."""

    escape: str = "\\"
    quotes: bool = True
    """Quotes have a meaning (they have none in the body of a heredoc)."""
    raw_quotes: bool = False
    """Quotes are kept in the result."""
    raw_escapes: bool = False
    """Escape characters are kept in the result."""
    keep_unset: bool = False
    """`$name` stays as it is where the name is not set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    text: str
    words: tuple[str, ...]
    used: frozenset[str]
    unset: frozenset[str]


def expand(word: str, env: Mapping[str, str], escape: str = "\\") -> str:
    return process(word, env, Rules(escape=escape)).text


def expand_words(word: str, env: Mapping[str, str], escape: str = "\\") -> list[str]:
    return list(process(word, env, Rules(escape=escape)).words)


def process(word: str, env: Mapping[str, str], rules: Rules) -> Expansion:
    """Expand by the given rules. Fails with a DockerfileError that has no span yet."""
    walk = _Walk(replaced(word).removeprefix(BOM), env, rules)
    try:
        text = walk.until("", raw=rules.raw_escapes)
    except DockerfileError as error:
        raise DockerfileError(f'failed to process "{word}": {error.message}') from error
    return Expansion(
        text=text,
        words=tuple(walk.words),
        used=frozenset(walk.used),
        unset=frozenset(walk.unset),
    )


@dataclass(slots=True)
class _Walk:
    """The state of one walk: a cursor, the words so far, the names met."""

    text: str
    env: Mapping[str, str]
    rules: Rules
    at: int = 0
    depth: int = 0
    raw: bool = False
    words: list[str] = field(default_factory=list)
    word: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    unset: set[str] = field(default_factory=set)

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def next(self) -> str:
        char = self.peek()
        self.at += 1 if char else 0
        return char

    def until(self, stop: str, *, raw: bool) -> str:
        """Walk up to the character `stop` ("" is the end of the text) and past it."""
        outer, self.raw = self.raw, raw
        self.word.clear()
        result: list[str] = []
        while (char := self.peek()) and char != stop:
            result.append(self.one(char))
        self.raw = outer
        self.flush()
        if stop and not self.next():
            raise DockerfileError(f"unexpected end of statement while looking for matching {stop}")
        return "".join(result)

    def one(self, char: str) -> str:
        """Take what begins with `char`, add it to the current word, give its text."""
        if char == "$":
            value = self.dollar()
            self.split(value)
            return value
        if char == "<":
            return self.keep(self.angle())
        if char in {"'", '"'} and self.rules.quotes:
            return self.keep(self.single_quoted() if char == "'" else self.double_quoted())
        self.next()
        if char == self.rules.escape:
            return self.keep((char if self.raw else "") + self.next())
        self.split(char)
        return char

    def keep(self, text: str) -> str:
        self.word.append(text)
        return text

    def split(self, text: str) -> None:
        if len(text) > 1 and SPACES.isdisjoint(text):
            self.word.append(text)
            return
        for char in text:
            if char in SPACES:
                self.flush()
            else:
                self.word.append(char)

    def flush(self) -> None:
        if word := "".join(self.word):
            self.words.append(word)
        self.word.clear()

    def angle(self) -> str:
        """`<<` and the blanks before the heredoc's name belong to one word."""
        start = self.at
        self.next()
        if self.peek() == "<":
            self.next()
            while self.peek() in _HEREDOC_BLANKS:
                self.next()
        return self.text[start : self.at]

    def single_quoted(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            self.at = len(self.text)
            raise DockerfileError(
                "unexpected end of statement while looking for matching single-quote"
            )
        start, self.at = self.at, end + 1
        return self.text[start : end + 1] if self.rules.raw_quotes else self.text[start + 1 : end]

    def double_quoted(self) -> str:
        quote = '"' if self.rules.raw_quotes else ""
        self.next()
        result = [quote]
        while (char := self.peek()) != '"':
            if not char:
                raise DockerfileError(
                    "unexpected end of statement while looking for matching double-quote"
                )
            result.append(self.dollar() if char == "$" else self.quoted_character())
        self.next()
        return "".join([*result, quote])

    def quoted_character(self) -> str:
        """Within double quotes the escape character works on `"`, `$` and itself only."""
        char = self.next()
        if char != self.rules.escape:
            return char
        kept = char if self.raw else ""
        following = self.peek()
        if not following:
            return kept
        return kept + (self.next() if following in {'"', "$", self.rules.escape} else char)

    def name(self) -> str:
        """A run of digits, one special parameter, or letters, digits and underscores."""
        start = self.at
        first = self.peek()
        if first.isdecimal():
            while self.peek().isdecimal():
                self.at += 1
        elif first and first in _SPECIAL_PARAMETERS:
            self.at += 1
        else:
            while (char := self.peek()) and (char.isalpha() or char.isdecimal() or char == "_"):
                self.at += 1
        return self.text[start : self.at]

    def look_up(self, name: str) -> str | None:
        value = self.env.get(name)
        (self.unset if value is None else self.used).add(name)
        return value

    def dollar(self) -> str:
        self.next()
        if self.peek() == "{":
            self.next()
            return self.braced()
        name = self.name()
        if not name:
            return "$"
        value = self.look_up(name)
        return self.unset_text(f"${name}") if value is None else value

    def unset_text(self, form: str) -> str:
        return form if self.rules.keep_unset else ""

    def braced(self) -> str:
        """What follows `${`."""
        if not self.peek():
            raise DockerfileError("syntax error: missing '}'")
        if self.peek() in {"{", "}", ":"}:
            raise DockerfileError("syntax error: bad substitution")
        name = self.name()
        char = self.next()
        if char == "}":
            value = self.look_up(name)
            return self.unset_text(f"${{{name}}}") if value is None else value
        if not char:
            raise DockerfileError("syntax error: missing '}'")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise DockerfileError(f"substitutions nested more than {MAX_DEPTH} deep")
        value = self.replaced_value(name) if char == "/" else self.modified(name, char)
        self.depth -= 1
        return value

    def inner(self, stop: str, *, raw: bool, missing: str) -> str:
        """The word within `${…}`, up to `stop`. Its words are not words of the outer text."""
        words, self.words = self.words, []
        try:
            return self.until(stop, raw=raw)
        except DockerfileError as error:
            if self.peek():
                raise
            raise DockerfileError(f"syntax error: missing {missing}") from error
        finally:
            self.words = words

    def modified(self, name: str, char: str) -> str:
        """`${name-word}` and the other forms with one word."""
        if char not in _MODIFIERS:
            raise DockerfileError(f"unsupported modifier ({char}) in substitution")
        colon = ":" if char == ":" else ""
        kind = self.next() if colon else char
        pattern = kind in _PATTERN_MODIFIERS if kind else False
        if colon and pattern:
            raise DockerfileError(f"unsupported modifier ({colon}{kind}) in substitution")
        word = self.inner("}", raw=pattern, missing="'}'")
        value = self.look_up(name)
        if value is None and self.rules.keep_unset:
            return f"${{{name}{colon}{kind}{word}}}"
        if pattern:
            return _trimmed(kind, word, value or "")
        return _chosen(name, colon + kind, word, value)

    def replaced_value(self, name: str) -> str:
        """`${name/pattern/replacement}` and `${name//pattern/replacement}`."""
        everywhere = self.peek() == "/"
        if everywhere:
            self.next()
        pattern = self.inner("/", raw=True, missing="'/' in ${}")
        replacement = self.inner("}", raw=True, missing="'}'")
        value = self.look_up(name)
        if value is None and self.rules.keep_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        return _replace(value or "", pattern, replacement, everywhere=everywhere)


def _chosen(name: str, modifier: str, word: str, value: str | None) -> str:
    """The value, the word or nothing; `modifier` is one of - + ? with or without a colon."""
    missing = value is None or (modifier[0] == ":" and value == "")
    match modifier[-1]:
        case "-":
            return word if missing else (value or "")
        case "+":
            return "" if missing else word
        case "?":
            if missing:
                state = "unset" if value is None else "empty"
                raise DockerfileError(f"{name}: {word or f'is not allowed to be {state}'}")
            return value or ""
        case _:
            raise DockerfileError(f"unsupported modifier ({modifier}) in substitution")


def _trimmed(kind: str, word: str, value: str) -> str:
    greedy = word.startswith(kind)
    trim = trim_suffix if kind == "%" else trim_prefix
    return trim(word[1:] if greedy else word, value, greedy=greedy)


def _replace(value: str, pattern: str, replacement: str, *, everywhere: bool) -> str:
    found = matches(pattern, value)
    result: list[str] = []
    done = 0
    for start, end in found if everywhere else found[:1]:
        text = _filled(replacement, value[start:end]) if everywhere else replacement
        result += [value[done:start], text]
        done = end
    return "".join([*result, value[done:]])


def _filled(template: str, match: str) -> str:
    """Replacing every match, the reference reads `$0` as the match, `$$` as `$`, others as ""."""

    def fill(reference: re.Match[str]) -> str:
        if reference[0] == "$$":
            return "$"
        return match if (reference[1] or reference[2]) == "0" else ""

    return _TEMPLATE.sub(fill, template) if "$" in template else template
