"""What a client serves to BuildKit inside its own connection: files, blobs, outputs, secrets.

The daemon is the client here. Its calls come as bytes through the Session stream; they are carried
to a gRPC server of ours on a private unix socket. Only what the caller of `Session` hands in can be
reached: a name that was not given is refused.
"""

import secrets
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Self, TypeVar
from urllib.parse import unquote_plus

import grpc

from lazybuild.errors import LazybuildError
from lazybuild.wire import contents
from lazybuild.wire.buildkit_frontend_protos import (
    content_pb2,
    health_pb2,
    secrets_pb2,
    session_pb2,
    sshforward_pb2,
    stat_pb2,
)
from lazybuild.wire.calls import MESSAGE_LIMIT
from lazybuild.wire.contents import Contents, ContentService
from lazybuild.wire.control import Control
from lazybuild.wire.filesync import Sender, SentFile
from lazybuild.wire.pump import PIECE, carry

FILES = "moby.filesync.v1.FileSync"
OUTPUTS = "moby.filesync.v1.FileSend"
AUTH = "moby.filesync.v1.Auth"
SECRETS = "moby.buildkit.secrets.v1.Secrets"
SSH = "moby.sshforward.v1.SSH"
HEALTH = "grpc.health.v1.Health"
THREADS = 32
_Message = TypeVar("_Message")
EXPORTER = "buildkit-attachable-exporter-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which part of a directory is asked for."""

    name: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SentTree:
    """The files of a directory, and their bytes."""

    files: Iterator[SentFile]
    open: Callable[[str], BinaryIO]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What the daemon may have. Each answers None for a name that it does not know."""

    directory: Callable[[Wanted], SentTree | None] = lambda _: None
    outputs: Mapping[int, Callable[[], AbstractContextManager[BinaryIO]]] = field(
        default_factory=dict
    )
    credential: Callable[[str], tuple[str, str]] = lambda _: ("", "")
    secret: Callable[[str], bytes | None] = lambda _: None
    agent: Callable[[str], Path | None] = lambda _: None
    contents: Mapping[str, Contents] = field(default_factory=dict)


class Session:
    """Open while the build lasts: `with Session(control, offers) as session: ... session.id`."""

    def __init__(self, control: Control, offers: Offers) -> None:
        self.id = secrets.token_hex(16)
        self._control = control
        self._service = _Service(offers)
        self._server = grpc.server(
            futures.ThreadPoolExecutor(THREADS, thread_name_prefix="session"),
            options=(
                ("grpc.max_receive_message_length", MESSAGE_LIMIT),
                ("grpc.max_send_message_length", MESSAGE_LIMIT),
            ),
        )
        self._folder = tempfile.TemporaryDirectory(prefix="lazybuild-")

    def __enter__(self) -> Self:
        path = Path(self._folder.name) / "s"
        for handler in self._service.handlers():
            self._server.add_generic_rpc_handlers((handler,))
        self._server.add_insecure_port(f"unix:{path}")
        self._server.start()
        self._wire = socket.socket(socket.AF_UNIX)
        self._wire.connect(str(path))
        self._thread = threading.Thread(target=self._relay, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None)
        self._wire.close()
        self._folder.cleanup()

    def _relay(self) -> None:
        """Carry bytes between the stream and the server until one of them ends."""
        methods = tuple(
            ("x-docker-expose-session-grpc-method", name) for name in self._service.names()
        )
        metadata = (
            ("x-docker-expose-session-uuid", self.id),
            ("x-docker-expose-session-name", "lazybuild"),
            ("x-docker-expose-session-sharedkey", ""),
            *methods,
        )
        answers = self._control.talk(self._outgoing(), metadata)
        try:
            for data in answers:
                self._wire.sendall(data)
        except (LazybuildError, OSError):
            return  # the build says what went wrong; without a session it ends, too

    def _outgoing(self) -> Iterator[bytes]:
        try:
            while data := self._wire.recv(PIECE // 2):
                yield data
        except OSError:
            return


class _Service:
    """The calls that the daemon may make."""

    def __init__(self, offers: Offers) -> None:
        self._offers = offers

    def names(self) -> Iterator[str]:
        for service, methods in self._methods().items():
            yield from (f"/{service}/{method}" for method in methods)

    def handlers(self) -> Iterator[grpc.GenericRpcHandler]:
        for service, methods in self._methods().items():
            yield grpc.method_handlers_generic_handler(service, methods)

    def _methods(self) -> dict[str, dict[str, grpc.RpcMethodHandler]]:
        packet, data = stat_pb2.Packet, session_pb2.BytesMessage
        asked, ssh = secrets_pb2.GetSecretRequest, sshforward_pb2
        return {
            FILES: {"DiffCopy": _streams(self.send_files, packet.FromString)},
            OUTPUTS: {"DiffCopy": _streams(self.take_output, data.FromString)},
            AUTH: {
                "Credentials": _unary(self.credential, session_pb2.CredentialsRequest.FromString)
            },
            SECRETS: {"GetSecret": _unary(self.secret, asked.FromString)},
            SSH: {
                "CheckAgent": _unary(self.check_agent, ssh.CheckAgentRequest.FromString),
                "ForwardAgent": _streams(self.forward_agent, ssh.BytesMessage.FromString),
            },
            contents.SERVICE: _content_calls(ContentService(self._offers.contents)),
            HEALTH: {"Check": _unary(self.health, health_pb2.HealthCheckRequest.FromString)},
        }

    def health(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        del request, context
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    def send_files(
        self, requests: Iterator[stat_pb2.Packet], context: grpc.ServicerContext
    ) -> Iterator[stat_pb2.Packet]:
        said = _Said(context)
        wanted = Wanted(
            name=said.one("dir-name"),
            include=said.many("include-patterns"),
            exclude=said.many("exclude-patterns"),
            follow=said.many("followpaths"),
        )
        tree = self._offers.directory(wanted)
        if tree is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no directory is called {wanted.name!r}")
        else:
            yield from Sender(tree.files, tree.open).packets(_until_gone(requests))

    def take_output(
        self, messages: Iterator[session_pb2.BytesMessage], context: grpc.ServicerContext
    ) -> Iterator[session_pb2.BytesMessage]:
        number = _Said(context).one(EXPORTER) or "0"
        target = self._offers.outputs.get(int(number) if number.isdecimal() else -1)
        if target is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no output {number[:20]} was asked for")
            return
        with target() as out:
            for message in messages:
                out.write(message.data)
        yield from ()

    def credential(
        self, request: session_pb2.CredentialsRequest, context: grpc.ServicerContext
    ) -> session_pb2.CredentialsResponse:
        with _failing(context):
            user, secret = self._offers.credential(request.Host)
            return session_pb2.CredentialsResponse(Username=user, Secret=secret)

    def secret(
        self, request: secrets_pb2.GetSecretRequest, context: grpc.ServicerContext
    ) -> secrets_pb2.GetSecretResponse:
        with _failing(context):
            found = self._offers.secret(request.ID)
        if found is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"secret {request.ID}: not found")
        return secrets_pb2.GetSecretResponse(data=found)

    def check_agent(
        self, request: sshforward_pb2.CheckAgentRequest, context: grpc.ServicerContext
    ) -> sshforward_pb2.CheckAgentResponse:
        if self._offers.agent(request.ID or "default") is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"ssh agent {request.ID}: not given")
        return sshforward_pb2.CheckAgentResponse()

    def forward_agent(
        self, messages: Iterator[sshforward_pb2.BytesMessage], context: grpc.ServicerContext
    ) -> Iterator[sshforward_pb2.BytesMessage]:
        name = _Said(context).one("buildkit.ssh.id") or "default"
        path = self._offers.agent(name)
        if path is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"ssh agent {name}: not given")
            return
        with socket.socket(socket.AF_UNIX) as agent:
            agent.connect(str(path))
            pieces = (message.data for message in _until_gone(messages))
            threading.Thread(
                target=carry,
                args=(lambda: next(pieces, b""), agent.sendall, lambda: _shut(agent)),
                daemon=True,
            ).start()
            while data := agent.recv(PIECE // 2):
                yield sshforward_pb2.BytesMessage(data=data)


def _shut(agent: socket.socket) -> None:
    with suppress(OSError):  # it may be gone already
        agent.shutdown(socket.SHUT_WR)


def _until_gone(messages: Iterator[_Message]) -> Iterator[_Message]:
    """The messages of a call that the daemon may cancel: read in threads that must not break."""
    try:
        yield from messages
    except grpc.RpcError:
        return


class _Said:
    """The metadata of a call. Values with other than plain characters come percent-encoded."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._pairs = [(name, str(value)) for name, value in context.invocation_metadata()]

    def many(self, name: str) -> tuple[str, ...]:
        values = (value for key, value in self._pairs if key == name)
        encoded = any(key == f"{name}-encoded" for key, _ in self._pairs)
        return tuple(unquote_plus(value) if encoded else value for value in values)

    def one(self, name: str) -> str:
        return next(iter(self.many(name)), "")


class _failing:  # noqa: N801 - reads as a statement
    """Errors of ours become the answer of the call."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, LazybuildError):
            self._context.abort(grpc.StatusCode.UNKNOWN, error.message)


def _content_calls(service: ContentService) -> dict[str, grpc.RpcMethodHandler]:
    return {
        "Info": _unary(service.info, content_pb2.InfoRequest.FromString),
        "Status": _unary(service.status, content_pb2.StatusRequest.FromString),
        "Abort": _unary(service.abort, content_pb2.AbortRequest.FromString),
        "Read": grpc.unary_stream_rpc_method_handler(
            service.read,
            request_deserializer=content_pb2.ReadContentRequest.FromString,
            response_serializer=_serialise,
        ),
        "Write": _streams(service.write, content_pb2.WriteContentRequest.FromString),
    }


def _unary(work: object, read: object) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        work, request_deserializer=read, response_serializer=_serialise
    )


def _streams(work: object, read: object) -> grpc.RpcMethodHandler:
    return grpc.stream_stream_rpc_method_handler(
        work, request_deserializer=read, response_serializer=_serialise
    )


def _serialise(message: stat_pb2.Packet) -> bytes:
    return message.SerializeToString()
