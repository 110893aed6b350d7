"""What the ops of one build have at hand. A value; puts nothing together itself."""

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lazybuild.estargz.writer import WriterOptions
from lazybuild.events import Sink
from lazybuild.executor.host import Host
from lazybuild.llb.graph import Vertex
from lazybuild.llb.ops import SourceOp
from lazybuild.request import OnFailure, Secret, SshAgent
from lazybuild.snapshots.closure import Start
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.snapshots.manager import Snapshots
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.solver.types import KeyPlan
from lazybuild.store import Store

Result = Snapshot | HostTree


class NamespaceNeededError(Exception):
    """The work can only go on inside a user and mount namespace; not a failure."""


class AnyOf(threading.Event):
    """Set when any of these events is, or when it is set itself."""

    def __init__(self, *events: threading.Event) -> None:
        super().__init__()
        self._events = events

    def is_set(self) -> bool:
        return super().is_set() or any(event.is_set() for event in self._events)


class Source(Protocol):
    """One kind of source op: an image, a directory of the client, a URL, a repository."""

    def plan(self, vertex: Vertex, op: SourceOp) -> KeyPlan: ...

    def load(self, vertex: Vertex, op: SourceOp) -> Result: ...


class Tracer(Protocol):
    """Watches which files of its snapshot a step uses, while the context holds."""

    def watch(
        self, vertex: Vertex, snapshot: Snapshot, merged: Path
    ) -> AbstractContextManager[None]: ...


def nothing_to_restore(name: str, target: Path) -> bool:
    """No other machine has this cache mount."""
    del name, target
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """`host` is None outside of the namespaces. `sources` gives the one for a scheme.

    `check` raises when a lazy layer could not be read, so that a step that failed for it is not
    taken for a broken program, and `unreadable` is set then, so that the step ends and does not
    wait for more of it. `lost` is set when the lazy file system ends during a step, `renew` puts
    another one in its place.
    """

    store: Store
    snapshots: Snapshots
    sources: Callable[[str], Source | None]
    sink: Sink
    stop: threading.Event
    host: Host | None
    tracer: Tracer
    check: Callable[[], None]
    lost: Callable[[], threading.Event]
    unreadable: Callable[[], threading.Event]
    renew: Callable[[], None]
    options: WriterOptions
    start: Start
    epoch: int | None = None
    secrets: Mapping[str, Secret]
    agents: Mapping[str, SshAgent]
    restore: Callable[[str, Path], bool] = nothing_to_restore
    on_failure: OnFailure | None = None


def scheme(op: SourceOp) -> str:
    return op.identifier.partition("://")[0]
