"""LLBBridge as it is served to a frontend: its questions as calls of `Answers`, values in and out.

A frontend holds one end of a connected socket as its standard input and output, plain HTTP/2 with
prior knowledge, and is the client of a gRPC server of ours. What it sends is hostile: a graph is
checked before anybody sees it, a message is bounded by gRPC, a method that is not here is refused
by its name. Knows no engine.
"""

import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from lazybuild.errors import BuildError, LazybuildError
from lazybuild.events import Warned
from lazybuild.llb.ops import SourceOp
from lazybuild.wire import faults
from lazybuild.wire.asked import Answers, Call, Graph, MissingError, UnimplementedError
from lazybuild.wire.buildkit_frontend_protos import caps_pb2, ops_pb2
from lazybuild.wire.buildkit_frontend_protos import gateway_pb2 as pb
from lazybuild.wire.calls import DETAILS, MESSAGE_LIMIT
from lazybuild.wire.decode import decode, read_platform, texts
from lazybuild.wire.encode import encode, platform_message
from lazybuild.wire.faults import Place, RemoteError
from lazybuild.wire.filesync import stat_message
from lazybuild.wire.gateway import (
    IN_TOTO,
    OCI_LAYOUT,
    SERVICE,
    FoundImage,
    Outcome,
    Statement,
    WorkerInfo,
)

THREADS = 16
MAX_CALLS = 64
MAX_DETAILS = 4 << 10
"""Bytes of an error's details: they go into a header, and a longer one is not taken."""

IMAGE = "docker-image://"
SELF = 0
"""The kind of a subject that is the image."""

_Asked = TypeVar("_Asked", bound=Message)


@contextmanager
def served(answers: Answers) -> Iterator[int]:
    """The descriptor of the frontend's end, while the block lasts. When it ends no call is under
    way any more: whoever leaves it has made sure that those that are will end.
    """
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="bridge")
    server = grpc.server(
        pool,
        handlers=(_Service(answers),),
        options=(
            ("grpc.max_receive_message_length", MESSAGE_LIMIT),
            ("grpc.max_send_message_length", MESSAGE_LIMIT),
        ),
        maximum_concurrent_rpcs=MAX_CALLS,
    )
    with tempfile.TemporaryDirectory(prefix="lazybuild-") as folder:
        door = Path(folder) / "s"
        server.add_insecure_port(f"unix:{door}")
        server.start()
        theirs = socket.socket(socket.AF_UNIX)
        theirs.connect(str(door))
        door.unlink()  # nobody else comes in
    try:
        with theirs:
            yield theirs.fileno()
    finally:
        server.stop(None).wait()
        pool.shutdown()


class _Service(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Finds the method of a call."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._methods = {
            f"/{SERVICE}/{name}": self._handler(name, asked, work)
            for name, asked, work in _methods(answers)
        }

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return self._methods.get(call.method) or self._refused(call.method)

    def _handler(
        self, name: str, asked: type[_Asked], work: Callable[[_Asked], Message]
    ) -> grpc.RpcMethodHandler:
        def call(request: _Asked, context: grpc.ServicerContext) -> Message:
            with _failing(context), self._answers.called(name):
                return work(request)

        return grpc.unary_unary_rpc_method_handler(
            call, request_deserializer=asked.FromString, response_serializer=_serialise
        )

    def _refused(self, method: str) -> grpc.RpcMethodHandler:
        """Streams on both sides: so are calls of any shape taken."""
        name = method.rpartition("/")[2] if method.startswith(f"/{SERVICE}/") else method

        def call(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            del requests
            with _failing(context), self._answers.called(name):
                raise UnimplementedError(f"{name[:200]} is not supported by lazybuild")
            yield b""

        return grpc.stream_stream_rpc_method_handler(call)


class _failing:  # noqa: N801 - reads as a statement
    """Errors of ours become the answer of the call, with the place that they speak of."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, LazybuildError):
            return
        code = _code(error)
        status = faults.status_of(error, place_of(error))
        status.code = code.value[0]
        data = status.SerializeToString()
        if len(data) <= MAX_DETAILS:
            self._context.set_trailing_metadata(((DETAILS, data),))
        self._context.abort(code, status.message[:MAX_DETAILS])


def place_of(error: LazybuildError) -> Place | None:
    if error.span is None or not error.source:
        return None
    return Place(span=error.span, data=error.source.encode("utf-8", "surrogateescape"))


def _code(error: LazybuildError) -> grpc.StatusCode:
    if isinstance(error, UnimplementedError):
        return grpc.StatusCode.UNIMPLEMENTED
    return grpc.StatusCode.NOT_FOUND if isinstance(error, MissingError) else grpc.StatusCode.UNKNOWN


def _serialise(message: Message) -> bytes:
    return message.SerializeToString()


# --- the calls -----------------------------------------------------------------------------------


def _methods(answers: Answers) -> Iterator[tuple[str, type[Message], Callable[..., Message]]]:
    calls = _Calls(answers)
    yield "Ping", pb.PingRequest, calls.ping
    yield "Solve", pb.SolveRequest, calls.solve
    yield "Evaluate", pb.EvaluateRequest, calls.evaluate
    yield "ResolveImageConfig", pb.ResolveImageConfigRequest, calls.resolve_config
    yield "ResolveSourceMeta", pb.ResolveSourceMetaRequest, calls.resolve_source
    yield "ReadFile", pb.ReadFileRequest, calls.read_file
    yield "ReadDir", pb.ReadDirRequest, calls.read_dir
    yield "StatFile", pb.StatFileRequest, calls.stat_file
    yield "Inputs", pb.InputsRequest, calls.inputs
    yield "Warn", pb.WarnRequest, calls.warn
    yield "Return", pb.ReturnRequest, calls.hand_back


class _Calls:
    """One method for each call: messages of the protocol in and out."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def ping(self, request: pb.PingRequest) -> pb.PongResponse:
        del request
        offer = self._answers.offer()
        return pb.PongResponse(
            FrontendAPICaps=_capabilities(offer.frontend),
            LLBCaps=_capabilities(offer.llb),
            Workers=[worker_message(worker) for worker in offer.workers],
        )

    def solve(self, request: pb.SolveRequest) -> pb.SolveResponse:
        if request.CacheImports:
            raise UnimplementedError("Solve with CacheImports is not supported by lazybuild")
        if request.Frontend:
            return self._call(request)
        if request.FrontendInputs:
            raise BuildError("Solve with FrontendInputs and no Frontend")
        self._check_capabilities(request.Definition)
        graph = Graph(
            head=decode(request.Definition, self._answers.admit),
            sources=texts(request.Definition),
            size=request.ByteSize(),
            now=request.Evaluate,
        )
        ref = self._answers.solve(graph) if graph.head is not None else ""
        return _solved(request, _ref(ref, request.Definition))

    def _call(self, request: pb.SolveRequest) -> pb.SolveResponse:
        """Another frontend is to do it."""
        if request.Definition.ops:
            raise BuildError("Solve with both a Frontend and a Definition")
        for graph in request.FrontendInputs.values():
            self._check_capabilities(graph)
        call = Call(
            frontend=request.Frontend,
            options=dict(request.FrontendOpt),
            inputs={
                name: decode(graph, self._answers.admit)
                for name, graph in sorted(request.FrontendInputs.items())
            },
            size=request.ByteSize(),
        )
        made = self._answers.call(call)
        for ref in made.refs.values() if request.Evaluate else ():
            self._answers.evaluate(ref)
        refs = {
            name: _ref(ref, encode(self._answers.graph(ref)).definition)
            for name, ref in made.refs.items()
        }
        answer = _made(request, refs)
        if request.allowResultReturn:
            answer.result.metadata.update(made.metadata)
        return answer

    def _check_capabilities(self, definition: ops_pb2.Definition) -> None:
        offered = self._answers.offer().llb
        named = (each.caps.items() for each in definition.metadata.values())
        asked = {name for pairs in named for name, wanted in pairs if wanted}
        if missing := sorted(asked - {name for name, there in offered.items() if there}):
            shown = ", ".join(name[:80] for name in missing[:10])
            raise UnimplementedError(f"not supported by lazybuild: {shown}")

    def evaluate(self, request: pb.EvaluateRequest) -> pb.EvaluateResponse:
        self._answers.evaluate(request.Ref)
        return pb.EvaluateResponse()

    def resolve_config(
        self, request: pb.ResolveImageConfigRequest
    ) -> pb.ResolveImageConfigResponse:
        if request.ResolverType == OCI_LAYOUT:
            raise UnimplementedError("image layouts of a session are not supported by lazybuild")
        found = self._image(request.Ref, request)
        return pb.ResolveImageConfigResponse(
            Digest=found.digest, Config=found.config, Ref=found.reference
        )

    def resolve_source(self, request: pb.ResolveSourceMetaRequest) -> pb.ResolveSourceMetaResponse:
        name = request.Source.identifier
        scheme = name.partition("://")[0]
        if scheme == "docker-image":
            return self._image_source(request)
        if scheme not in ("git", "http", "https"):
            raise UnimplementedError(f"ResolveSourceMeta of {name[:200]} is not supported")
        attrs = tuple(sorted(request.Source.attrs.items()))
        source = self._answers.admit(SourceOp(identifier=name, attrs=attrs))
        found = self._answers.source(source, commit=request.Git.ReturnObject)
        if scheme == "git":
            git = pb.ResolveSourceGitResponse(
                Checksum=found.checksum, Ref=found.name, CommitObject=found.commit
            )
            return pb.ResolveSourceMetaResponse(Source=request.Source, Git=git)
        file = pb.ResolveSourceHTTPResponse(
            Checksum=found.checksum,
            Filename=found.name,
            LastModified=Timestamp(seconds=found.changed) if found.changed else None,
        )
        return pb.ResolveSourceMetaResponse(Source=request.Source, HTTP=file)

    def _image_source(self, request: pb.ResolveSourceMetaRequest) -> pb.ResolveSourceMetaResponse:
        found = self._image(request.Source.identifier.removeprefix(IMAGE), request)
        attrs = dict(request.Source.attrs)
        return pb.ResolveSourceMetaResponse(
            Source=ops_pb2.SourceOp(identifier=IMAGE + found.reference, attrs=attrs),
            Image=pb.ResolveSourceImageResponse(Digest=found.digest, Config=found.config),
        )

    def _image(
        self, name: str, request: pb.ResolveImageConfigRequest | pb.ResolveSourceMetaRequest
    ) -> FoundImage:
        wanted = read_platform(request.Platform) if request.HasField("Platform") else None
        return self._answers.image(name, wanted)

    def read_file(self, request: pb.ReadFileRequest) -> pb.ReadFileResponse:
        given = request.HasField("Range")
        data = self._answers.read_file(
            request.Ref,
            request.FilePath,
            offset=request.Range.Offset,
            length=request.Range.Length if given else None,
        )
        return pb.ReadFileResponse(Data=data)

    def read_dir(self, request: pb.ReadDirRequest) -> pb.ReadDirResponse:
        found = self._answers.read_dir(request.Ref, request.DirPath, request.IncludePattern)
        return pb.ReadDirResponse(entries=[stat_message(file) for file in found])

    def stat_file(self, request: pb.StatFileRequest) -> pb.StatFileResponse:
        return pb.StatFileResponse(
            stat=stat_message(self._answers.stat_file(request.Ref, request.Path))
        )

    def inputs(self, request: pb.InputsRequest) -> pb.InputsResponse:
        del request
        given = self._answers.inputs()
        return pb.InputsResponse(
            Definitions={name: encode(head).definition for name, head in given.items()}
        )

    def warn(self, request: pb.WarnRequest) -> pb.WarnResponse:
        lines = [each.start.line for each in request.ranges]
        self._answers.warn(
            Warned(
                message=request.short.decode("utf-8", "replace"),
                detail=tuple(each.decode("utf-8", "replace") for each in request.detail),
                url=request.url,
                path=request.info.filename,
                line=lines[0] if lines else 0,
            )
        )
        return pb.WarnResponse()

    def hand_back(self, request: pb.ReturnRequest) -> pb.ReturnResponse:
        if request.HasField("error"):
            error = RemoteError(request.error.message, status=request.error)
            self._answers.fail(error)
        else:
            self._answers.give(_outcome(request.result))
        return pb.ReturnResponse()


def _capabilities(known: Mapping[str, bool]) -> list[caps_pb2.APICap]:
    return [caps_pb2.APICap(ID=name, Enabled=there) for name, there in sorted(known.items())]


def worker_message(worker: WorkerInfo) -> pb.WorkerRecord:
    platforms = [platform_message(platform) for platform in worker.platforms]
    return pb.WorkerRecord(ID=worker.id, Labels=dict(worker.labels), platforms=platforms)


def worker_json(worker: WorkerInfo) -> Mapping[str, object]:
    """As BUILDKIT_WORKERS has it."""
    platforms = [
        {"os": each.os, "architecture": each.architecture}
        | ({"variant": each.variant} if each.variant else {})
        for each in worker.platforms
    ]
    return {"ID": worker.id, "Labels": dict(worker.labels), "Platforms": platforms}


def _solved(request: pb.SolveRequest, made: pb.Ref) -> pb.SolveResponse:
    """In the form that the frontend knows; a modern one gets the graph back with the ref."""
    if not request.allowResultReturn:
        return pb.SolveResponse(ref=made.id)
    if not request.allowResultArrayRef:
        return pb.SolveResponse(result=pb.Result(refDeprecated=made.id))
    return pb.SolveResponse(result=pb.Result(ref=made))


def _made(request: pb.SolveRequest, made: Mapping[str, pb.Ref]) -> pb.SolveResponse:
    """What another frontend gave, one result or one for each platform."""
    if set(made) <= {""}:
        return _solved(request, made.get("", pb.Ref()))
    if not request.allowResultReturn:
        raise BuildError("several results are for a frontend that can take them")
    if not request.allowResultArrayRef:
        old = pb.RefMapDeprecated(refs={name: ref.id for name, ref in made.items()})
        return pb.SolveResponse(result=pb.Result(refsDeprecated=old))
    return pb.SolveResponse(result=pb.Result(refs=pb.RefMap(refs=made)))


def _ref(ref: str, definition: ops_pb2.Definition) -> pb.Ref:
    made = pb.Ref(id=ref)
    # `def` is a word of Python's
    getattr(made, "def").CopyFrom(definition)
    return made


def _outcome(result: pb.Result) -> Outcome:
    match result.WhichOneof("result"):
        case "ref":
            refs = {"": result.ref.id}
        case "refDeprecated":
            refs = {"": result.refDeprecated}
        case "refs":
            refs = {name: ref.id for name, ref in result.refs.refs.items()}
        case "refsDeprecated":
            refs = dict(result.refsDeprecated.refs)
        case _:
            refs = {}
    statements = {
        name: tuple(_statement(each) for each in found.attestation)
        for name, found in result.attestations.items()
    }
    return Outcome(refs=refs, metadata=dict(result.metadata), statements=statements)


def _statement(given: pb.Attestation) -> Statement:
    """One predicate about the image itself; what else there could be is refused."""
    if given.kind != IN_TOTO:
        raise UnimplementedError("bundles of attestations are not supported by lazybuild")
    if any(subject.kind != SELF or subject.name for subject in given.inTotoSubjects):
        raise UnimplementedError("attestations about others are not supported by lazybuild")
    if not given.inTotoPredicateType:
        raise BuildError("an attestation without the type of its predicate")
    return Statement(type=given.inTotoPredicateType, ref=given.ref.id, path=given.path)
