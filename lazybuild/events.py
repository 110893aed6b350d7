"""What a build tells the world, as values. Renders nothing and knows no other room.

A vertex is named by its digest (see `llb`). Times are seconds of `time.time()`.
Sinks are called from many threads and must return quickly; they never raise.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexStarted:
    """Work on a vertex begins; `inputs` are the digests of the vertices it waits for."""

    vertex: str
    name: str
    inputs: tuple[str, ...] = ()
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexDone:
    """A vertex has its result, from the cache or not, or failed with `error`."""

    vertex: str
    name: str
    cached: bool = False
    error: str = ""
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexLog:
    """Output of a step: `stream` is 1 or 2, `data` whole lines or what came before a pause."""

    vertex: str
    data: bytes
    stream: int = 1
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """How far a transfer is: `id` names it inside the vertex, `total` is 0 while unknown; bytes."""

    vertex: str
    id: str
    current: int
    total: int
    done: bool = False
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something the user should know and that does not stop the build."""

    message: str
    vertex: str = ""
    detail: tuple[str, ...] = ()
    url: str = ""
    path: str = ""
    line: int = 0
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """One line about the way taken: the tier, a layer's mode and why."""

    message: str
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The process stands in the namespaces it will stay in: from here on threads may be started."""

    time: float = field(default_factory=time.time)


Event = VertexStarted | VertexDone | VertexLog | Transfer | Warned | Noted | Ready
Sink = Callable[[Event], None]


def discard(event: Event) -> None:
    """Take an event and do nothing with it."""
