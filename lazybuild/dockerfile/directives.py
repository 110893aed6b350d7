"""Parser directives: `# syntax=`, `# escape=`, `# check=` at the very top of a Dockerfile. Pure.

The reference reads them in two ways, and both are here. The parser itself (`Reader`) allows blanks
before `#`, refuses a repeated directive and knows `#` only; the look for one directive
(`find`, used for syntax and check) skips a `#!` line, takes no blanks before the mark, ignores
repetition, and for syntax knows `// syntax=` and a JSON document with a "syntax" key as well.
"""

import json
import re
from dataclasses import dataclass, field

from lazybuild.dockerfile.characters import BOM, SPACE, physical_lines
from lazybuild.dockerfile.nodes import Directive, Directives, whole_lines
from lazybuild.errors import DockerfileError, Span

KNOWN = frozenset({"syntax", "escape", "check"})
ESCAPES = ("\\", "`")

_HEAD = 4 * 65536
"""Three directives fit into it, each as long as a line can be."""

_REGEX_SPACE = "\t\n\f\r "
_NAME = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=")


@dataclass(slots=True)
class Reader:
    """Takes the lines of a file one by one until the first that is no known directive."""

    path: str
    mark: str = "#"
    done: bool = False
    seen: set[str] = field(default_factory=set)

    def read(self, line: str, number: int) -> Directive | None:
        if self.done:
            return None
        directive = self._match(line, number)
        if directive is None or directive.name not in KNOWN:
            self.done = True
            return None
        if directive.name in self.seen:
            raise DockerfileError(
                f"only one {directive.name} parser directive can be used", span=directive.span
            )
        self.seen.add(directive.name)
        return directive

    def _match(self, line: str, number: int) -> Directive | None:
        if not line.startswith(self.mark):
            return None
        text = line[len(self.mark) :].lstrip(SPACE)
        match = _NAME.match(text)
        rest = text[match.end() :] if match else ""
        if match is None or not rest:
            return None
        value = rest.strip(_REGEX_SPACE) or rest[-1]
        return Directive(
            name=match[1].lower(), value=value, span=whole_lines(self.path, number, number)
        )


def escape_of(directive: Directive) -> str:
    """The escape character that an escape directive asks for."""
    if directive.value not in ESCAPES:
        raise DockerfileError(
            f"invalid escape token '{directive.value}' does not match ` or \\", span=directive.span
        )
    return directive.value


def read_directives(text: str, path: str, escape: str) -> Directives:
    """The directives of a whole file; `escape` is what the parser's own reading found."""
    check = find("check", text, path, any_format=False)
    return Directives(
        escape=escape,
        check=check.value if check else "",
        check_span=check.span if check else None,
    )


def first_word(directive: Directive) -> str:
    """What names a frontend; the rest is for that."""
    return directive.value if directive.structured else directive.value.partition(" ")[0]


def find(name: str, text: str, path: str, *, any_format: bool) -> Directive | None:
    text = text.removeprefix(BOM)
    first, _, rest = text.partition("\n")
    skipped = 1 if first.startswith("#!") else 0
    text = rest if skipped else text
    for mark in ("#", "//") if any_format else ("#",):
        if directive := _first(name, text, Reader(path, mark), skipped):
            return directive
    span = whole_lines(path, skipped + 1, skipped + 1)
    return _from_json(name, text, span) if any_format else None


def _first(name: str, text: str, reader: Reader, skipped: int) -> Directive | None:
    for number, line in enumerate(_heading(text), skipped + 1):
        try:
            directive = reader.read(line, number)
        except DockerfileError:
            return None  # the parser itself reports it; what stood before it counts
        if directive is None or directive.name == name:
            return directive
    return None


def _heading(text: str) -> list[str]:
    """More lines than there can be directives, without their ends."""
    return [line.removesuffix("\n").removesuffix("\r") for line in physical_lines(text[:_HEAD])]


def _from_json(name: str, text: str, span: Span) -> Directive | None:
    if not text.lstrip(_REGEX_SPACE).startswith("{"):
        return None
    try:
        value = json.loads(text).get(name)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, str):
        return None
    return Directive(name=name, value=value, span=span, structured=True)
