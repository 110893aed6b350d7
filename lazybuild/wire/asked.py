"""What a frontend asks for, as values, and who answers it: the seam between the protocol and what
does the work.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from lazybuild.errors import BuildError, LazybuildError
from lazybuild.events import Warned
from lazybuild.llb.graph import Edge
from lazybuild.llb.ops import Platform, SourceOp
from lazybuild.wire.faults import RemoteError
from lazybuild.wire.filesync import SentFile
from lazybuild.wire.gateway import FoundImage, Offer, Outcome


class UnimplementedError(LazybuildError):
    """Something of the protocol that is not here; named, so that the frontend can do without."""


class MissingError(BuildError):
    """A file, a directory or a ref that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A graph that a frontend sent. `sources` are the files by name that its spans point into,
    `size` the bytes it came in; with `now` it is to be solved before the call is answered.
    """

    head: Edge | None
    sources: Mapping[str, bytes] = field(default_factory=dict)
    size: int = 0
    now: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Another frontend that a frontend wants to have run, by its name in the protocol, with options
    and graphs for it; `size` is the bytes that it came in.
    """

    frontend: str
    options: Mapping[str, str]
    inputs: Mapping[str, Edge | None]
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSource:
    """What is known of a source: a repository's commit, and all that git keeps of it if that was
    asked for; a file's digest, name and time.
    """

    checksum: str
    name: str = ""
    changed: int = 0
    commit: bytes = b""


class Answers(Protocol):
    """The one who does the work. Called from many threads; raises LazybuildError."""

    def called(self, method: str) -> AbstractContextManager[None]:
        """Around every call; raises for one that may not be made now."""
        ...

    def offer(self) -> Offer: ...
    def admit(self, source: SourceOp) -> SourceOp:
        """What a source of a graph counts as; raises for one that was not granted."""
        ...

    def solve(self, graph: Graph) -> str:
        """A ref."""
        ...

    def call(self, call: Call) -> Outcome:
        """What another frontend makes of it; the refs are the caller's."""
        ...

    def graph(self, ref: str) -> Edge | None:
        """What a ref stands for; None is an empty file system."""
        ...

    def evaluate(self, ref: str) -> None: ...
    def image(self, reference: str, platform: Platform | None) -> FoundImage: ...
    def source(self, source: SourceOp, *, commit: bool) -> FoundSource: ...
    def read_file(self, ref: str, path: str, *, offset: int, length: int | None) -> bytes: ...
    def read_dir(self, ref: str, path: str, pattern: str) -> Iterable[SentFile]: ...
    def stat_file(self, ref: str, path: str) -> SentFile: ...
    def inputs(self) -> Mapping[str, Edge | None]: ...
    def warn(self, warning: Warned) -> None: ...
    def give(self, outcome: Outcome) -> None: ...
    def fail(self, error: RemoteError) -> None: ...
