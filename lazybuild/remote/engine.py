"""One build on a BuildKit: the order, the graph, the result. Threads wait for the daemon.

The daemon is told of a build without a graph and keeps its gateway open for us, as for a frontend;
the graph, compiled here, goes through that, and so do the questions for base images.
"""

import json
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from lazybuild.dockerfile.gateway import GatewayImages
from lazybuild.dockerfile.options import Compiled
from lazybuild.errors import BuildError, HostError, LazybuildError
from lazybuild.events import Sink
from lazybuild.exporters.attestation import Predicate
from lazybuild.llb.graph import Edge, Vertex, VertexOptions
from lazybuild.llb.ops import FileAction, FileOp, MkFileAction, Platform, SourceOp
from lazybuild.oci import codec
from lazybuild.remote.tree import RemoteTree
from lazybuild.snapshots.tree import EmptyTree, Tree
from lazybuild.solver.once import StoppedError
from lazybuild.wire import capabilities
from lazybuild.wire.control import Attrs, Control, Export, Order
from lazybuild.wire.dial import Address, Tls, connected
from lazybuild.wire.encode import Style, Text, encode
from lazybuild.wire.faults import UNAVAILABLE, RemoteError, place_of, status_of
from lazybuild.wire.gateway import Gateway, Lookup, Outcome, Statement
from lazybuild.wire.session import Offers, Session

CONFIG = "containerimage.config"
PLATFORMS = "refs.platforms"
ATTESTATIONS = "exporter.image.attestations"
MAX_STATED = 12 << 20  # of a message, which may have 16 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything that a build on a BuildKit needs beside the graph."""

    address: Address
    tls: Tls
    offers: Offers
    exports: tuple[Export, ...]
    cache_imports: tuple[tuple[str, Attrs], ...] = ()
    cache_exports: tuple[tuple[str, Attrs], ...] = ()
    entitlements: tuple[str, ...] = ()
    pull: bool = False
    attrs: Attrs = field(default_factory=dict)
    states: "States | None" = None
    stop: threading.Event = field(default_factory=threading.Event)


States = Callable[[Tree, Compiled], Predicate]
"""What is to be stated of a result, whose files can be looked at."""

Compile = Callable[[Platform, GatewayImages], tuple[Sequence[Text], Sequence[Compiled]]]


def build(job: Job, compile_: Compile, sink: Sink) -> Mapping[str, str]:
    """Build what `compile_` makes for the daemon's platform; what the exporters say. StoppedError
    when `job.stop` was set meanwhile.
    """
    try:
        with connected(job.address, job.tls, job.stop) as channel:
            control = Control(channel)
            with Session(control, job.offers) as session:
                order = Order(
                    id=secrets.token_hex(16),
                    session=session.id,
                    exports=job.exports,
                    cache_imports=job.cache_imports,
                    cache_exports=job.cache_exports,
                    entitlements=job.entitlements,
                    attrs=job.attrs,
                )
                run = _Run(control, order, sink, job.address.text)
                gateway = Gateway(channel, order.id)
                with run:
                    _steer(gateway, run, job, session.id, compile_)
                return run.response()
    except LazybuildError as error:
        if job.stop.is_set():
            raise StoppedError from error
        raise


def _steer(gateway: Gateway, run: "_Run", job: Job, session: str, compile_: Compile) -> None:
    """What a frontend does. A failure of ours ends the daemon's part, too."""
    try:
        offer = gateway.ping()
        if job.states or job.attrs:
            capabilities.check([ATTESTATIONS], offer.llb)
        here = next((each for worker in offer.workers for each in worker.platforms), None)
        if here is None:
            raise HostError(f"{job.address.text} has no worker that could build")
        lookup = Lookup(mode="pull" if job.pull else "default", session=session)
        texts, made = compile_(here, GatewayImages(partial(gateway.resolve_image, lookup=lookup)))
        gateway.give(_outcome(gateway, job, session, texts, made))
    except RemoteError as error:
        run.failed(error)
        _give_up(gateway, error)
    except LazybuildError as error:
        _give_up(gateway, error)
        raise


def _give_up(gateway: Gateway, error: LazybuildError) -> None:
    """Tell the daemon if it is still there; the user wants to see the failure itself."""
    try:
        gateway.fail(status_of(error))
    except RemoteError:
        return


def _outcome(
    gateway: Gateway, job: Job, session: str, texts: Sequence[Text], made: Sequence[Compiled]
) -> Outcome:
    refs, metadata, statements = {}, {}, {}
    unique = secrets.token_hex(8)

    def attrs(source: SourceOp) -> Mapping[str, str]:
        if source.identifier.startswith("local://"):
            return {"local.session": session, "local.unique": unique}
        if source.identifier.startswith("oci-layout://"):
            return {"oci.session": session}
        return {}

    style = Style(attrs=attrs, texts=tuple(texts), offered=gateway.offer.llb)
    for result in made:
        name = str(result.platform) if len(made) > 1 else ""
        ending = f"/{name}" if name else ""
        refs[name] = gateway.solve(encode(result.head, style), job.cache_imports)
        metadata[CONFIG + ending] = codec.encode(result.config)
        if job.states:
            tree = RemoteTree(gateway, refs[name]) if refs[name] else EmptyTree()
            stated = job.states(tree, result)
            statements[str(result.platform)] = (_stated(gateway, stated, style),)
    metadata[PLATFORMS] = platforms(made)
    return Outcome(refs=refs, metadata=metadata, statements=statements)


def _stated(gateway: Gateway, stated: Predicate, style: Style) -> Statement:
    """As a file of the daemon's: it makes the statement of it when it knows the image's digest."""
    data = json.dumps(stated.body, separators=(",", ":")).encode()
    if len(data) > MAX_STATED:
        raise BuildError(f"what is to be stated of the image is larger than {MAX_STATED >> 20} MiB")
    file = MkFileAction(path=f"/{stated.file}", mode=0o644, data=data)
    vertex = Vertex(
        op=FileOp(actions=(FileAction(action=file, output=0),)),
        options=VertexOptions(name=f"[internal] state {stated.file}"),
    )
    ref = gateway.solve(encode(Edge(vertex), style))
    return Statement(type=stated.type, ref=ref, path=f"/{stated.file}")


def platforms(made: Sequence[Compiled]) -> bytes:
    listed = [{"ID": str(each.platform), "Platform": _platform(each.platform)} for each in made]
    return json.dumps({"Platforms": listed}, separators=(",", ":")).encode()


def _platform(platform: Platform) -> dict[str, str]:
    found = {"architecture": platform.architecture, "os": platform.os}
    return found | ({"variant": platform.variant} if platform.variant else {})


class _Run:
    """The daemon's side of a build, in two threads: its end is waited for, its news are told."""

    def __init__(self, control: Control, order: Order, sink: Sink, name: str) -> None:
        self._control = control
        self._order = order
        self._sink = sink
        self._name = name
        self._response: Mapping[str, str] = {}
        self._error: RemoteError | None = None
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._solve, self._watch)
        ]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not issubclass(kind, LazybuildError):
            return  # interrupted: the connection ends, and the daemon's part with it
        for thread in self._threads:
            thread.join()

    def failed(self, error: RemoteError) -> None:
        """A call of ours failed; what the build itself says is better, when it says something."""
        self._error = self._error or error

    def response(self) -> Mapping[str, str]:
        if self._error is None:
            return self._response
        if self._error.status.code == UNAVAILABLE:
            raise HostError(
                f"{self._name}: BuildKit went away during the build: {self._error.message}",
                hint="look into the log of the daemon",
            ) from self._error
        raise explained(self._error)

    def _solve(self) -> None:
        try:
            self._response = self._control.solve(self._order)
        except RemoteError as error:
            known = self._error
            self._error = known if known is not None and known.span is not None else error

    def _watch(self) -> None:
        try:
            for event in self._control.watch(self._order.id):
                self._sink(event)
        except RemoteError as error:
            self.failed(error)


def explained(error: RemoteError) -> RemoteError:
    """With the place in the Dockerfile that the daemon knows."""
    place = place_of(error.status)
    if place is not None:
        error.span = error.span or place.span
        error.source = error.source or place.data.decode("utf-8", "surrogateescape")
    return error
