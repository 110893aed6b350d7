"""Flags of instructions: which exist, what they hold, and what is wrong with them. Pure.

Knows names and kinds, not meanings; `decode` asks for what it needs. Every complaint carries the
span of the flag itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from lazybuild.dockerfile.hints import hint
from lazybuild.dockerfile.nodes import Flag, Node
from lazybuild.errors import DockerfileError, Span


class Kind(Enum):
    BOOL = "bool"
    TEXT = "text"
    LIST = "list"


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What a flag holds and where it stands."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The flags of one instruction by name; a name that was not given is absent."""

    values: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    def text(self, name: str) -> str:
        given = self.values.get(name, ())
        return given[0].text if given else ""

    def switch(self, name: str) -> bool | None:
        """True or false as given, None when the flag is absent."""
        given = self.values.get(name, ())
        return given[0].text == "true" if given else None

    def all(self, name: str) -> tuple[Value, ...]:
        return self.values.get(name, ())

    def span(self, name: str, default: Span) -> Span:
        given = self.values.get(name, ())
        return given[0].span if given else default


def read(node: Node, kinds: Mapping[str, Kind]) -> Flags:
    """The flags of `node`, each of a known name and a right form. Stops at a lone `--`."""
    found: dict[str, tuple[Value, ...]] = {}
    for flag in node.flags:
        if flag.text == "--":
            break
        name, value = _one(flag, kinds)
        if name in found and kinds[name] is not Kind.LIST:
            raise DockerfileError(f"duplicate flag specified: --{name}", span=flag.span)
        found[name] = (*found.get(name, ()), value)
    return Flags(values=found)


def _one(flag: Flag, kinds: Mapping[str, Kind]) -> tuple[str, Value]:
    if not flag.text.startswith("--"):
        raise DockerfileError(f"arg should start with -- : {flag.text}", span=flag.span)
    name, equals, text = flag.text[2:].partition("=")
    if name not in kinds:
        near = hint(f"--{name}", [f"--{known}" for known in kinds])
        raise DockerfileError(f"unknown flag: --{name}", span=flag.span, hint=near)
    if kinds[name] is Kind.BOOL:
        text = _bool(flag, name, text, valued=bool(equals))
    elif not equals:
        raise DockerfileError(f"missing a value on flag: --{name}", span=flag.span)
    return name, Value(text=text, span=flag.span)


def _bool(flag: Flag, name: str, text: str, *, valued: bool) -> str:
    if valued and not text:
        raise DockerfileError(f"missing a value on flag: --{name}", span=flag.span)
    lower = text.lower() or "true"
    if lower not in {"true", "false"}:
        raise DockerfileError(
            f"expecting boolean value for flag --{name}, not: {text}", span=flag.span
        )
    return lower
