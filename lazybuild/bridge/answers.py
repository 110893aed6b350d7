"""`Bridge`: answers a frontend's questions, and keeps what it hands back."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from lazybuild.bridge import files
from lazybuild.bridge.conversation import Conversation
from lazybuild.bridge.granted import Grants
from lazybuild.bridge.refs import Refs
from lazybuild.errors import BuildError, LazybuildError
from lazybuild.events import Sink, Warned
from lazybuild.llb.graph import Edge
from lazybuild.llb.ops import Platform, SourceOp
from lazybuild.snapshots.tree import EmptyTree, Tree
from lazybuild.wire.asked import Call, FoundSource, Graph, MissingError
from lazybuild.wire.faults import RemoteError, place_of
from lazybuild.wire.filesync import SentFile
from lazybuild.wire.gateway import FoundImage, Offer, Outcome

MAX_WARNINGS = 1000
MAX_STATEMENTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a frontend that another one called has made: graphs by platform as in `Outcome`, with
    the files that they come from.
    """

    heads: Mapping[str, Edge | None]
    metadata: Mapping[str, bytes]
    sources: Mapping[str, bytes] = field(default_factory=dict)


class Engine(Protocol):
    """What solves and finds. Called from many threads; raises LazybuildError."""

    def tree(self, head: Edge) -> Tree:
        """The files of a graph, which is solved for them."""
        ...

    def image(self, reference: str, platform: Platform | None) -> FoundImage: ...
    def source(self, source: SourceOp, *, commit: bool) -> FoundSource: ...
    def call(self, call: Call) -> Made: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a frontend is started with."""

    offer: Offer
    grants: Grants
    inputs: Mapping[str, Edge | None]


class Bridge:
    """The answers to one frontend. `outcome` and `error` are what it handed back."""

    def __init__(self, engine: Engine, given: Given, talk: Conversation, sink: Sink) -> None:
        self._engine = engine
        self._given = given
        self._talk = talk
        self._sink = sink
        self._warned = 0
        self.refs = Refs()
        self.outcome: Outcome | None = None
        self.error: LazybuildError | None = None

    def called(self, method: str) -> AbstractContextManager[None]:
        return self._talk.call(method)

    def offer(self) -> Offer:
        return self._given.offer

    def inputs(self) -> Mapping[str, Edge | None]:
        return self._given.inputs

    def admit(self, source: SourceOp) -> SourceOp:
        return self._given.grants.admit(source)

    # --- graphs and their files ------------------------------------------------------------------

    def solve(self, graph: Graph) -> str:
        ref = self.refs.add(graph)
        if graph.head is not None:
            with self.explained():
                self._given.grants.check(graph.head)
        if graph.now:
            self.evaluate(ref)
        return ref

    def call(self, call: Call) -> Outcome:
        self._check(call.inputs)
        made = self._engine.call(call)
        self._check(made.heads)
        graphs = {
            name: Graph(head=head, sources=made.sources, size=call.size)
            for name, head in made.heads.items()
        }
        refs = {name: self.refs.add(graph) for name, graph in graphs.items()}
        return Outcome(refs=refs, metadata=made.metadata)

    def _check(self, heads: Mapping[str, Edge | None]) -> None:
        for head in heads.values():
            if head is not None:
                self._given.grants.check(head)

    def graph(self, ref: str) -> Edge | None:
        return self.refs.get(ref)

    def evaluate(self, ref: str) -> None:
        self._tree(ref)

    def read_file(self, ref: str, path: str, *, offset: int, length: int | None) -> bytes:
        return files.read(self._tree(ref), path, offset=offset, length=length)

    def read_dir(self, ref: str, path: str, pattern: str) -> Iterable[SentFile]:
        return list(files.names(self._tree(ref), path, pattern))

    def stat_file(self, ref: str, path: str) -> SentFile:
        return files.status(self._tree(ref), path)

    def _tree(self, ref: str) -> Tree:
        head = self.refs.get(ref)
        if head is None:
            return EmptyTree()
        with self.explained():
            return self._engine.tree(head)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Errors in here have the file that their place is in, as the frontend has sent it."""
        try:
            yield
        except LazybuildError as error:
            if error.span is not None and not error.source:
                data = self.refs.sources().get(error.span.path, b"")
                error.source = data.decode("utf-8", "surrogateescape")
            raise

    # --- sources ---------------------------------------------------------------------------------

    def image(self, reference: str, platform: Platform | None) -> FoundImage:
        return self._engine.image(reference, platform)

    def source(self, source: SourceOp, *, commit: bool) -> FoundSource:
        return self._engine.source(source, commit=commit)

    # --- what it says ----------------------------------------------------------------------------

    def warn(self, warning: Warned) -> None:
        self._warned += 1
        if self._warned <= MAX_WARNINGS:
            self._sink(warning)

    def give(self, outcome: Outcome) -> None:
        stated = [one for each in outcome.statements.values() for one in each]
        if len(stated) > MAX_STATEMENTS:
            raise BuildError(f"a frontend states more than {MAX_STATEMENTS} things of an image")
        for ref in (*outcome.refs.values(), *(statement.ref for statement in stated)):
            self.refs.get(ref)
        self._talk.end()
        self.outcome = outcome

    def fail(self, error: RemoteError) -> None:
        """A failure that the frontend was told of is that failure, whatever it made of it."""
        self._talk.end()
        told = [known for known in self._talk.failures if known.message in error.message]
        own = [known for known in told if not isinstance(known, MissingError) and known.message]
        self.error = own[-1] if own else error
        place = place_of(error.status)
        if place is not None and self.error.span is None:
            self.error.span = place.span
            self.error.source = place.data.decode("utf-8", "surrogateescape")
