"""The control API of a BuildKit: start a build, watch it. Values of ours in, events out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from lazybuild.events import (
    Event,
    Transfer,
    VertexDone,
    VertexLog,
    VertexStarted,
    Warned,
)
from lazybuild.wire.buildkit_frontend_protos import control_pb2 as pb
from lazybuild.wire.calls import Caller

SERVICE = "moby.buildkit.v1.Control"
Attrs = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One exporter of a build and its attributes."""

    type: str
    attrs: Attrs = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A build as the daemon is told of it. The graph comes later, through its gateway.

    `attrs` are a frontend's, of which a daemon itself heeds those that ask for attestations.
    """

    id: str
    session: str
    exports: tuple[Export, ...] = ()
    cache_imports: tuple[tuple[str, Attrs], ...] = ()
    cache_exports: tuple[tuple[str, Attrs], ...] = ()
    entitlements: tuple[str, ...] = ()
    attrs: Attrs = field(default_factory=dict)


class Control:
    def __init__(self, channel: grpc.Channel) -> None:
        self._caller = Caller(channel, SERVICE)

    def solve(self, order: Order) -> Attrs:
        """Build, and wait for the end of it; what the exporters say. Raises RemoteError."""
        only = order.exports[0] if len(order.exports) == 1 else Export(type="")
        request = pb.SolveRequest(
            Ref=order.id,
            Session=order.session,
            FrontendAttrs=order.attrs,
            ExporterDeprecated=only.type,
            ExporterAttrsDeprecated=only.attrs,
            Exporters=[pb.Exporter(Type=each.type, Attrs=each.attrs) for each in order.exports],
            Cache=pb.CacheOptions(
                Imports=[pb.CacheOptionsEntry(Type=t, Attrs=a) for t, a in order.cache_imports],
                Exports=[pb.CacheOptionsEntry(Type=t, Attrs=a) for t, a in order.cache_exports],
            ),
            Entitlements=order.entitlements,
        )
        answer = self._caller.call("Solve", request, pb.SolveResponse)
        return dict(answer.ExporterResponse)

    def watch(self, build_id: str) -> Iterator[Event]:
        """What happens in a build, until it is over."""
        seen = Seen()
        answers = self._caller.stream("Status", pb.StatusRequest(Ref=build_id), pb.StatusResponse)
        for answer in answers:
            yield from seen.events(answer)

    def talk(
        self, messages: Iterator[bytes], metadata: tuple[tuple[str, str], ...]
    ) -> Iterator[bytes]:
        """The session: bytes both ways."""
        caller = self._caller.with_metadata(metadata)
        requests = (pb.BytesMessage(data=data) for data in messages)
        for answer in caller.talk("Session", requests, pb.BytesMessage):
            yield answer.data


class Seen:
    """Which steps have been told of as started and as done: the daemon repeats itself."""

    def __init__(self) -> None:
        self._started: set[str] = set()
        self._done: set[str] = set()

    def events(self, answer: pb.StatusResponse) -> Iterator[Event]:
        for vertex in answer.vertexes:
            yield from self._vertex(vertex)
        for status in answer.statuses:
            yield _transfer(status)
        for log in answer.logs:
            yield VertexLog(
                vertex=log.vertex, data=log.msg, stream=log.stream, time=_seconds(log.timestamp)
            )
        for warning in answer.warnings:
            yield _warned(warning)

    def _vertex(self, vertex: pb.Vertex) -> Iterator[Event]:
        name = vertex.name
        if vertex.HasField("started") and vertex.digest not in self._started:
            self._started.add(vertex.digest)
            yield VertexStarted(
                vertex=vertex.digest,
                name=name,
                inputs=tuple(vertex.inputs),
                time=_seconds(vertex.started),
            )
        if vertex.HasField("completed") and vertex.digest not in self._done:
            self._done.add(vertex.digest)
            yield VertexDone(
                vertex=vertex.digest,
                name=name,
                cached=vertex.cached,
                error=vertex.error,
                time=_seconds(vertex.completed),
            )


def _transfer(status: pb.VertexStatus) -> Transfer:
    return Transfer(
        vertex=status.vertex,
        id=status.name or status.ID,
        current=status.current,
        total=status.total,
        done=status.HasField("completed"),
        time=_seconds(status.timestamp),
    )


def _warned(warning: pb.VertexWarning) -> Warned:
    line = warning.ranges[0].start.line if warning.ranges else 0
    return Warned(
        message=warning.short.decode(errors="replace"),
        vertex=warning.vertex,
        detail=tuple(detail.decode(errors="replace") for detail in warning.detail),
        url=warning.url,
        path=warning.info.filename,
        line=line,
    )


def _seconds(time: Timestamp) -> float:
    return time.seconds + time.nanos / 1e9
