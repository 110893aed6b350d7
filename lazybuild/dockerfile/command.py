"""A logical line into keyword, flags and the rest. Pure.

The reference walks flags byte by byte and takes each byte for a character. That is kept: a flag
with characters beyond ASCII comes out as what those bytes are in Latin-1. The walk is therefore
done on a Latin-1 view of the line, which for an ASCII line is the line itself.
"""

import re
from dataclasses import dataclass

from lazybuild.dockerfile.characters import BLANK, SPACE, SPACES, decode, encode

_BLANKS = re.compile(BLANK + "+")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagText:
    """A flag and where it stands in the logical line."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    name: str
    flags: tuple[FlagText, ...]
    rest: str
    start: int
    """Where `rest` begins in the logical line."""


def split_command(line: str, escape: str) -> Command:
    begin = len(line) - len(line.lstrip(SPACE))
    text = line.strip(SPACE)
    match = _BLANKS.search(text)
    if match is None:
        return Command(name=text, flags=(), rest="", start=begin + len(text))
    tail = text[match.end() :]
    flags, used = split_flags(tail, escape)
    rest = tail[used:]
    bare = rest.lstrip(SPACE)
    offset = begin + match.end()
    return Command(
        name=text[: match.start()],
        flags=tuple(
            FlagText(text=flag.text, start=flag.start + offset, end=flag.end + offset)
            for flag in flags
        ),
        rest=bare.rstrip(SPACE),
        start=offset + used + len(rest) - len(bare),
    )


def split_flags(line: str, escape: str) -> tuple[list[FlagText], int]:
    """The words that begin with `--`, and how much of the line they take; `--` alone ends them."""
    if not line.startswith("--"):
        return [], 0
    walk = _Walk(line if line.isascii() else encode(line).decode("latin-1"), escape)
    walk.run()
    if line.isascii():
        return walk.flags, walk.at
    data = encode(line)

    def characters(count: int) -> int:
        return len(decode(data[:count]))

    flags = [
        FlagText(text=flag.text, start=characters(flag.start), end=characters(flag.end))
        for flag in walk.flags
    ]
    return flags, characters(walk.at)


class _Walk:
    def __init__(self, text: str, escape: str) -> None:
        self.text = text
        self.escape = escape
        self.at = 0
        self.flags: list[FlagText] = []

    def run(self) -> None:
        while self._skip_spaces() and self.text.startswith("--", self.at):
            start = self.at
            word, quoted = self._word()
            if word == "--":
                return
            if word or quoted:
                self.flags.append(FlagText(text=word, start=start, end=self.at))

    def _skip_spaces(self) -> bool:
        while self.at < len(self.text) and self.text[self.at] in SPACES:
            self.at += 1
        return self.at < len(self.text)

    def _word(self) -> tuple[str, bool]:
        """Up to white space that is not quoted; quotes and escape characters fall away."""
        word: list[str] = []
        quote, quoted = "", False
        while self.at < len(self.text):
            char = self.text[self.at]
            if not quote and char in SPACES:
                break
            self.at += 1
            if char == quote:
                quote = ""
            elif not quote and char in {"'", '"'}:
                quote, quoted = char, True
            elif char == self.escape:
                word.append(self.text[self.at : self.at + 1])
                self.at += 1
            else:
                word.append(char)
        self.at = min(self.at, len(self.text))
        return "".join(word), quoted
