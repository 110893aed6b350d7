r"""Heredoc marks: which words of an instruction begin one, and what they say. Pure.

A mark is `[fd]<<[-]NAME`. A quoted NAME means that the body is not expanded. The escape character
is `\` here whatever the file's escape directive says; the reference has it so.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lazybuild.dockerfile.shell import Rules, process
from lazybuild.errors import DockerfileError

_MARK = re.compile(r"([0-9]*)<<(-?)[\t\n\f\r ]*([^<]*)", re.DOTALL)
_NOTHING: Mapping[str, str] = MappingProxyType({})

_RAW = Rules(raw_quotes=True, raw_escapes=True, keep_unset=True)
_PLAIN = Rules(keep_unset=True)
_QUOTED = Rules(raw_quotes=True, keep_unset=True)

MAX_FD = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    name: str
    fd: int
    expand: bool
    chomp: bool


def marks(line: str) -> tuple[Mark, ...]:
    """The heredocs that a logical line announces, in order."""
    if "<<" not in line:
        return ()
    try:
        words = process(line, _NOTHING, _RAW).words
    except DockerfileError:
        return ()  # no words, no heredocs: the shell that gets the line may make sense of it
    return tuple(mark for word in words if (mark := parse_mark(word)))


def parse_mark(word: str) -> Mark | None:
    """One word as a heredoc mark, or nothing when it is none. Fails on a bad quote in NAME."""
    match = _MARK.fullmatch(word)
    if match is None or not match[3]:
        return None
    plain = process(match[3], _NOTHING, _PLAIN).words
    if len(plain) != 1:
        return None
    raw = process(match[3], _NOTHING, _QUOTED).words
    if len(raw) != 1:
        raise DockerfileError(f"heredoc name {match[3]} can't be read")
    return Mark(
        name=plain[0],
        fd=min(int(match[1].lstrip("0")[:20] or "0"), MAX_FD),
        expand=_quotes(plain[0]) == _quotes(raw[0]),
        chomp=match[2] == "-",
    )


def _quotes(word: str) -> int:
    return word.count("'") + word.count('"')
