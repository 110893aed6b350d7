"""The questions that a frontend may ask BuildKit (LLBBridge), with values of ours in and out."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import grpc

from lazybuild.errors import IntegrityError, UsageError
from lazybuild.llb.graph import Edge
from lazybuild.llb.ops import Platform, SourceOp
from lazybuild.oci import transport
from lazybuild.wire import capabilities
from lazybuild.wire.buildkit_frontend_protos import gateway_pb2 as pb
from lazybuild.wire.buildkit_frontend_protos import ops_pb2
from lazybuild.wire.buildkit_frontend_protos.status_pb2 import Status
from lazybuild.wire.calls import Caller, Metadata
from lazybuild.wire.capabilities import MissingCapabilityError
from lazybuild.wire.containers import Process, Program, running
from lazybuild.wire.decode import decode
from lazybuild.wire.encode import Encoded, platform_message, range_message
from lazybuild.wire.faults import Place
from lazybuild.wire.filesync import SentFile, sent_file

SERVICE = "moby.buildkit.v1.frontend.LLBBridge"
PING_SECONDS = 15
META_RESOLVER = "source.metaresolver"
OCI_LAYOUT = 1
IN_TOTO = 0
MAX_FILE = 16 << 20
COMMITTED = re.compile(rb"^committer [^\n]* (\d{1,12}) [+-]\d{4}$", re.MULTILINE)
"""In a commit as git keeps it (git-cat-file(1)); what follows its header may hold anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """A machine behind the daemon: the platforms it builds for, its own first."""

    id: str
    labels: Mapping[str, str]
    platforms: tuple[Platform, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the daemon can do. Empty capabilities mean that it is too old to say."""

    frontend: Mapping[str, bool] = field(default_factory=dict)
    llb: Mapping[str, bool] = field(default_factory=dict)
    workers: tuple[WorkerInfo, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImage:
    """A base image: its name as the daemon has it, the digest, the config's bytes."""

    reference: str
    digest: str
    config: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """How images are looked for: `mode` is default, pull or local."""

    mode: str = "default"
    session: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Something stated of an image: the file `path` of a ref holds the predicate as JSON, `type` is
    the URI that says what kind of thing it is.
    """

    type: str
    ref: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a frontend hands back: refs by platform ("" when there is only one), metadata, and what
    is stated of each, by the platform's name in any case.

    A ref of "" is an empty file system.
    """

    refs: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    statements: Mapping[str, tuple[Statement, ...]] = field(default_factory=dict)


CacheImport = tuple[str, Mapping[str, str]]


class Gateway:
    """LLBBridge over a channel: a frontend's own, or a daemon's for the build `build_id`."""

    def __init__(self, channel: grpc.Channel, build_id: str = "") -> None:
        metadata: Metadata = (("buildkit-controlapi-buildid", build_id),) if build_id else ()
        self._caller = Caller(channel, SERVICE, metadata)
        self.offer = Offer()

    def ping(self) -> Offer:
        """The first call: what the other side can do. Kept in `offer`."""
        pong = self._caller.call("Ping", pb.PingRequest(), pb.PongResponse, timeout=PING_SECONDS)
        self.offer = Offer(
            frontend={cap.ID: cap.Enabled for cap in pong.FrontendAPICaps},
            llb={cap.ID: cap.Enabled for cap in pong.LLBCaps},
            workers=tuple(_worker(record) for record in pong.Workers),
        )
        return self.offer

    def resolve_image(self, reference: str, platform: Platform, lookup: Lookup) -> FoundImage:
        """`reference` is a full name, or `oci-layout://store@digest`."""
        if reference.startswith("oci-layout://"):
            return self._resolve_layout(reference.removeprefix("oci-layout://"), platform, lookup)
        if transport.kind(reference):
            raise UsageError(f"{reference}: a BuildKit reads no image out of a file of the context")
        request = pb.ResolveImageConfigRequest(
            Ref=reference,
            Platform=platform_message(platform),
            ResolveMode=lookup.mode,
            LogName=f"[internal] load metadata for {reference}",
        )
        if self.offer.frontend.get(META_RESOLVER, False):
            return self._resolve_source(request)
        return self._resolve_config(request)

    def _resolve_source(self, asked: pb.ResolveImageConfigRequest) -> FoundImage:
        attrs = {"image.resolvemode": asked.ResolveMode}
        source = ops_pb2.SourceOp(identifier=f"docker-image://{asked.Ref}", attrs=attrs)
        request = pb.ResolveSourceMetaRequest(
            Source=source,
            Platform=asked.Platform,
            LogName=asked.LogName,
            ResolveMode=asked.ResolveMode,
        )
        answer = self._caller.call("ResolveSourceMeta", request, pb.ResolveSourceMetaResponse)
        name = answer.Source.identifier.removeprefix("docker-image://") or asked.Ref
        return FoundImage(reference=name, digest=answer.Image.Digest, config=answer.Image.Config)

    def _resolve_config(self, request: pb.ResolveImageConfigRequest) -> FoundImage:
        answer = self._caller.call("ResolveImageConfig", request, pb.ResolveImageConfigResponse)
        name = answer.Ref or request.Ref
        return FoundImage(reference=name, digest=answer.Digest, config=answer.Config)

    def _resolve_layout(self, name: str, platform: Platform, lookup: Lookup) -> FoundImage:
        request = pb.ResolveImageConfigRequest(
            Ref=name,
            Platform=platform_message(platform),
            ResolveMode=lookup.mode,
            LogName=f"[internal] load metadata for {name}",
            ResolverType=OCI_LAYOUT,
            SessionID=lookup.session,
            StoreID=name.partition("@")[0],
        )
        return self._resolve_config(request)

    def source_time(self, source: SourceOp) -> int | None:
        """When a git or http source was changed last (seconds), None where its server doesn't say.
        Raises for a daemon that can't tell.
        """
        request = pb.ResolveSourceMetaRequest(
            Source=ops_pb2.SourceOp(identifier=source.identifier, attrs=dict(source.attrs)),
            Git=pb.ResolveSourceGitRequest(ReturnObject=True),
        )
        answer = self._caller.call("ResolveSourceMeta", request, pb.ResolveSourceMetaResponse)
        if answer.HasField("HTTP"):
            return answer.HTTP.LastModified.seconds or None
        committed = COMMITTED.search(answer.Git.CommitObject)
        if committed is None:
            raise MissingCapabilityError(
                "BuildKit can't tell when the source that SOURCE_DATE_EPOCH names was changed",
                hint="use a newer BuildKit, or give a number of seconds",
            )
        return int(committed[1])

    def solve(self, graph: Encoded, imports: Iterable[CacheImport] = ()) -> str:
        """A ref for what the graph makes, lazily; "" for an empty file system."""
        capabilities.check(graph.capabilities, self.offer.llb)
        if not graph.definition.ops:
            return ""
        request = pb.SolveRequest(
            Definition=graph.definition,
            allowResultReturn=True,
            allowResultArrayRef=True,
            CacheImports=[
                pb.CacheOptionsEntry(Type=kind, Attrs=dict(attrs)) for kind, attrs in imports
            ],
        )
        answer = self._caller.call("Solve", request, pb.SolveResponse)
        match answer.result.WhichOneof("result"):
            case "ref":
                return answer.result.ref.id
            case "refDeprecated":
                return answer.result.refDeprecated
            case None:
                return answer.ref
            case other:
                raise IntegrityError(f"BuildKit answered one graph with {other}")

    def read_file(self, ref: str, path: str, *, offset: int = 0, length: int = 0) -> bytes:
        """The bytes of a file, or `length` of them. Raises RemoteError without one."""
        request = pb.ReadFileRequest(Ref=ref, FilePath=path)
        if length:
            request.Range.Offset, request.Range.Length = offset, length
        data = self._caller.call("ReadFile", request, pb.ReadFileResponse).Data
        if len(data) > MAX_FILE:
            raise IntegrityError(f"{path} is larger than {MAX_FILE >> 20} MiB")
        return data

    def names(self, ref: str, path: str, pattern: str = "") -> tuple[str, ...]:
        """What is in a directory."""
        return tuple(file.path for file in self.files(ref, path, pattern))

    def files(self, ref: str, path: str, pattern: str = "") -> Iterator[SentFile]:
        """What is in a directory, and of what kind and size it is."""
        request = pb.ReadDirRequest(Ref=ref, DirPath=path, IncludePattern=pattern)
        answer = self._caller.call("ReadDir", request, pb.ReadDirResponse)
        return (sent_file(entry) for entry in answer.entries)

    def run(self, program: Program) -> AbstractContextManager[Process]:
        """A program beside the build, which ends with the context."""
        return running(self._caller, program)

    def inputs(self) -> Mapping[str, Edge | None]:
        """Graphs that the client gives under names, checked."""
        answer = self._caller.call("Inputs", pb.InputsRequest(), pb.InputsResponse)
        return {name: decode(graph) for name, graph in sorted(answer.Definitions.items())}

    def warn(self, digest: str, message: str, *, url: str, detail: str, place: Place) -> None:
        """A warning on a vertex of this build."""
        info = ops_pb2.SourceInfo(
            filename=place.span.path, data=place.data, language=place.language
        )
        request = pb.WarnRequest(
            digest=digest,
            level=1,
            short=message.encode("utf-8", "replace"),
            detail=[detail.encode()] if detail else [],
            url=url,
            info=info,
            ranges=[range_message(place.span)],
        )
        self._caller.call("Warn", request, pb.WarnResponse)

    def give(self, outcome: Outcome) -> None:
        """Hand the result back. Once, and nothing after it."""
        self._caller.call("Return", pb.ReturnRequest(result=_result(outcome)), pb.ReturnResponse)

    def fail(self, status: Status) -> None:
        """Say why there is no result. Once, and nothing after it."""
        self._caller.call("Return", pb.ReturnRequest(error=status), pb.ReturnResponse)


def _result(outcome: Outcome) -> pb.Result:
    result = pb.Result(metadata=outcome.metadata)
    if set(outcome.refs) == {""}:
        result.ref.id = outcome.refs[""]
        result.ref.SetInParent()
    elif outcome.refs:
        for platform, ref in outcome.refs.items():
            result.refs.refs[platform].id = ref
    for platform, statements in outcome.statements.items():
        result.attestations[platform].attestation.extend(map(_attestation, statements))
    return result


def _attestation(statement: Statement) -> pb.Attestation:
    return pb.Attestation(
        kind=IN_TOTO,
        ref=pb.Ref(id=statement.ref),
        path=statement.path,
        inTotoPredicateType=statement.type,
    )


def _worker(record: pb.WorkerRecord) -> WorkerInfo:
    platforms = (
        Platform(os=each.OS, architecture=each.Architecture, variant=each.Variant)
        for each in record.platforms
    )
    return WorkerInfo(id=record.ID, labels=dict(record.Labels), platforms=tuple(platforms))
