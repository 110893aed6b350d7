"""The grpc door: calls over a channel as typed functions, failures as errors of ours."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from lazybuild.errors import HostError
from lazybuild.wire.buildkit_frontend_protos.status_pb2 import Status
from lazybuild.wire.faults import CANCELLED, RemoteError, read_status

MESSAGE_LIMIT = 16 << 20
PAUSE = 0.1
DETAILS = "grpc-status-details-bin"
OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_retries", 0),
    ("grpc.keepalive_time_ms", 2**31 - 1),
)

_Answer = TypeVar("_Answer", bound=Message)
Metadata = tuple[tuple[str, str], ...]


class Caller:
    """Calls of one service. `metadata` goes with each."""

    def __init__(self, channel: grpc.Channel, service: str, metadata: Metadata = ()) -> None:
        self._channel = channel
        self._service = service
        self._metadata = metadata

    def with_metadata(self, metadata: Metadata) -> "Caller":
        """The same service, with more to say in each call."""
        return Caller(self._channel, self._service, (*self._metadata, *metadata))

    def call(
        self, method: str, request: Message, answer: type[_Answer], *, timeout: float | None = None
    ) -> _Answer:
        """One question, one answer. Raises RemoteError."""
        invoke = self._channel.unary_unary(
            f"/{self._service}/{method}",
            request_serializer=_serialise,
            response_deserializer=answer.FromString,
        )
        try:
            found: _Answer = invoke(request, metadata=self._metadata, timeout=timeout)
        except grpc.RpcError as error:
            raise fault(error) from error
        except ValueError as error:  # gRPC's word for a channel that was closed
            raise RemoteError(str(error), status=Status(code=CANCELLED)) from error
        return found

    def stream(self, method: str, request: Message, answer: type[_Answer]) -> Iterator[_Answer]:
        """One question, many answers."""
        invoke = self._channel.unary_stream(
            f"/{self._service}/{method}",
            request_serializer=_serialise,
            response_deserializer=answer.FromString,
        )
        return _guarded(invoke(request, metadata=self._metadata))

    def talk(
        self, method: str, requests: Iterable[Message], answer: type[_Answer]
    ) -> Iterator[_Answer]:
        """Both sides speak as they like."""
        invoke = self._channel.stream_stream(
            f"/{self._service}/{method}",
            request_serializer=_serialise,
            response_deserializer=answer.FromString,
        )
        return _guarded(invoke(iter(requests), metadata=self._metadata))


def open_channel(target: str) -> grpc.Channel:
    """A connection to `unix:PATH` or HOST:PORT, without TLS."""
    return grpc.insecure_channel(target, options=OPTIONS)


def ready(
    channel: grpc.Channel, seconds: float, name: str, hint: str, *, gone: Callable[[], str]
) -> None:
    """Wait until somebody answers. `gone` says why nobody will, once that is known."""
    future = grpc.channel_ready_future(channel)
    end = time.monotonic() + seconds
    while True:
        try:
            future.result(timeout=PAUSE)
        except grpc.FutureTimeoutError as error:
            reason = gone()
            if reason or time.monotonic() > end:
                future.cancel()
                raise HostError(f"{name}: {reason or 'no answer'}", hint=hint) from error
        else:
            return


def fault(error: grpc.RpcError) -> RemoteError:
    """What a failed call says, with its details."""
    trailing = {} if not isinstance(error, grpc.Call) else dict(error.trailing_metadata() or ())
    code, message = 2, str(error)
    if isinstance(error, grpc.Call):
        code, message = error.code().value[0], error.details() or ""
    data = trailing.get(DETAILS, b"")
    return RemoteError(message, status=read_status(data, code=code, message=message))


def _serialise(message: Message) -> bytes:
    return message.SerializeToString()


def _guarded(answers: Iterator[_Answer]) -> Iterator[_Answer]:
    try:
        yield from answers
    except grpc.RpcError as error:
        raise fault(error) from error
