"""The graph: vertices, edges, digests and orders. Pure; standard library only.

A vertex digest names a vertex inside one solve. It is not a cache key: that is the solver's.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cached_property

from lazybuild.errors import Span
from lazybuild.llb.ops import ExecOp, Op, Platform, SourceOp


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexOptions:
    """What is told of a vertex without being part of its identity.

    `name` is the progress line ("[dev 3/5] RUN make"); `command` the instruction it comes from;
    `layer_limit` and the like belong into the op. `ignore_cache` forces the step to run.
    """

    name: str = ""
    command: str = ""
    spans: tuple[Span, ...] = ()
    ignore_cache: bool = False
    description: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Vertex:
    """An op, what it works on, and where it runs. Equal when the digests are."""

    op: Op
    inputs: tuple["Edge", ...] = ()
    platform: Platform | None = None
    options: VertexOptions = VertexOptions()

    @cached_property
    def digest(self) -> str:
        """sha256 over op, platform and the digests of the inputs: `sha256:<hex>`."""
        parts = {
            "op": plain(self.op),
            "platform": str(self.platform or ""),
            "inputs": [[edge.vertex.digest, edge.index] for edge in self.inputs],
        }
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    @property
    def name(self) -> str:
        """As its writer calls it; without a name, what it is of or does."""
        if self.options.name:
            return self.options.name
        match self.op:
            case SourceOp(identifier=identifier):
                return identifier
            case ExecOp(meta=meta):
                return " ".join(meta.args)
            case _:
                return type(self.op).__name__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vertex) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


@dataclass(frozen=True, slots=True)
class Edge:
    """One output of a vertex."""

    vertex: Vertex
    index: int = 0


def plain(value: object) -> object:
    """A JSON form of an op: every field stands with its name, every type with its own."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        members = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        return {"": type(value).__name__, **members}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return value


def walk(head: Vertex) -> Iterator[Vertex]:
    """Every vertex that `head` needs and `head` itself, each once, inputs first."""
    seen: set[str] = set()
    stack: list[tuple[Vertex, bool]] = [(head, False)]
    while stack:
        vertex, ready = stack.pop()
        if ready:
            yield vertex
        elif vertex.digest not in seen:
            seen.add(vertex.digest)
            stack.append((vertex, True))
            stack.extend((edge.vertex, False) for edge in reversed(vertex.inputs))


def depth(head: Vertex) -> int:
    """How many vertices stand on one another, `head` the topmost."""
    found: dict[str, int] = {}
    for vertex in walk(head):
        below = (found[edge.vertex.digest] for edge in vertex.inputs)
        found[vertex.digest] = 1 + max(below, default=0)
    return found[head.digest]
