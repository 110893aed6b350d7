"""Makes foreign text harmless where a machine or a terminal reads it: what steps print, what
frontends and registries say.

It may hold terminal control sequences, and lines that a CI system takes for commands
(GitHub: `::error ...`, `##[...]`). Sources: ECMA-48; GitHub's "Workflow commands".
"""

import re
from collections.abc import Callable

Escape = Callable[[str], str]

_CONTROL = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # operating system commands
    r"|\x1b\[[0-9;?]*[@-~]"  # control sequences, colours among them
    r"|\x1b."
    r"|[\x00-\x08\x0b-\x1f\x7f]"
)
_COMMAND = re.compile(r"^(\s*)(::|##\[)")


def plain_text(line: str) -> str:
    """The line without control characters and sequences."""
    return _CONTROL.sub("", line)


def github(line: str) -> str:
    """The same, and no workflow command: a zero-width space breaks its opening."""
    return _COMMAND.sub(lambda match: f"{match[1]}\u200b{match[2]}", plain_text(line))


def lines(text: str, escape: Escape) -> str:
    """Text of several lines, each of them made harmless."""
    return "\n".join(escape(line) for line in text.split("\n"))


def one_line(text: str) -> str:
    """A name, which has no business to be longer than a line."""
    return plain_text(text.replace("\n", " "))
