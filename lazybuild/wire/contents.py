"""Blobs that a BuildKit may read from this machine, and put there: containerd's content API.

Each call names a store by a header; only the stores of the build are there, and of each only what
it says it has. A blob is written in one go: a broken write leaves nothing, and begins anew.
Source: containerd api/services/content/v1/content.proto, moby/buildkit session/content.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

import grpc

from lazybuild.errors import IntegrityError, LazybuildError
from lazybuild.oci import digest as digests
from lazybuild.oci.digest import Digest
from lazybuild.wire.buildkit_frontend_protos import content_pb2 as pb

SERVICE = "containerd.services.content.v1.Content"
STORE = "buildkit-attachable-store-id"
PIECE = 1 << 20


class Ingest(Protocol):
    """A blob on its way: there once it is committed. Raises IntegrityError when it is another."""

    def write(self, data: bytes) -> object: ...

    def commit(self, expected: Digest | None = None) -> object: ...


class Contents(Protocol):
    """One store of blobs."""

    def size(self, digest: Digest) -> int | None:
        """In bytes; None for a blob that is not there, or that nobody may have."""
        ...

    def open(self, digest: Digest) -> BinaryIO: ...

    def ingest(self) -> AbstractContextManager[Ingest] | None:
        """None where nothing may be put."""
        ...


class ContentService:
    """The calls. Errors go out as the status that containerd's client knows."""

    def __init__(self, stores: Mapping[str, Contents]) -> None:
        self._stores = stores

    def info(self, request: pb.InfoRequest, context: grpc.ServicerContext) -> pb.InfoResponse:
        size = self._size(self._store(context), request.digest, context)
        return pb.InfoResponse(info=pb.Info(digest=request.digest, size=size))

    def read(
        self, request: pb.ReadContentRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ReadContentResponse]:
        store = self._store(context)
        size = self._size(store, request.digest, context)
        offset = request.offset
        if not 0 <= offset <= size or request.size < 0:
            told = f"no {request.size} bytes at {offset} of {size}"
            context.abort(grpc.StatusCode.OUT_OF_RANGE, told)
        left = min(request.size or size, size - offset)
        with store.open(digests.parse(request.digest)) as file:
            file.seek(offset)
            while left and (piece := file.read(min(left, PIECE))):
                yield pb.ReadContentResponse(offset=offset, data=piece)
                offset, left = offset + len(piece), left - len(piece)

    def status(self, request: pb.StatusRequest, context: grpc.ServicerContext) -> pb.StatusResponse:
        context.abort(grpc.StatusCode.NOT_FOUND, f"{request.ref[:200]}: nothing is being written")
        return pb.StatusResponse()

    def abort(self, request: pb.AbortRequest, context: grpc.ServicerContext) -> pb.AbortResponse:
        context.abort(grpc.StatusCode.NOT_FOUND, f"{request.ref[:200]}: nothing is being written")
        return pb.AbortResponse()

    def write(
        self, requests: Iterator[pb.WriteContentRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.WriteContentResponse]:
        store = self._store(context)
        ingest = store.ingest()
        if ingest is None:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "nothing may be put here")
            return
        with ingest as blob:
            yield from _Writing(store, blob, context).answers(requests)

    def _store(self, context: grpc.ServicerContext) -> Contents:
        pairs = ((key, str(value)) for key, value in context.invocation_metadata())
        name = next((value for key, value in pairs if key == STORE), "")
        found = self._stores.get(name)
        if found is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no store is called {name[:200]!r}")
            raise KeyError(name)  # abort has raised
        return found

    @staticmethod
    def _size(store: Contents, digest: str, context: grpc.ServicerContext) -> int:
        size = store.size(digests.parse(digest)) if digests.is_valid(digest) else None
        if size is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{digest[:100]}: not found")
            raise KeyError(digest)  # abort has raised
        return size


class _Writing:
    """The dialogue over one blob: each message is answered with how far it is."""

    def __init__(self, store: Contents, blob: Ingest, context: grpc.ServicerContext) -> None:
        self._store = store
        self._blob = blob
        self._context = context
        self._offset = 0
        self._total = 0
        self._expected = ""

    def answers(
        self, requests: Iterator[pb.WriteContentRequest]
    ) -> Iterator[pb.WriteContentResponse]:
        for request in requests:
            self._begin(request)
            if request.data:
                self._put(request)
            done = ""
            if request.action == pb.COMMIT:
                done = self._commit()
            yield pb.WriteContentResponse(
                action=request.action, offset=self._offset, total=self._total, digest=done
            )
            if done:
                return

    def _begin(self, request: pb.WriteContentRequest) -> None:
        self._total = request.total or self._total
        self._expected = request.expected or self._expected
        known = digests.is_valid(self._expected)
        if self._expected and not known:
            self._context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a digest")
        if known and self._store.size(digests.parse(self._expected)) is not None:
            self._context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{self._expected} is here")

    def _put(self, request: pb.WriteContentRequest) -> None:
        if request.offset != self._offset:
            told = f"{request.offset} is not {self._offset}, where it goes on"
            self._context.abort(grpc.StatusCode.OUT_OF_RANGE, told)
        self._blob.write(request.data)
        self._offset += len(request.data)

    def _commit(self) -> str:
        """The digest. A blob is only taken under the name that was said beforehand."""
        if not self._expected or self._total not in (0, self._offset):
            told = f"{self._offset} bytes of {self._total}, to be {self._expected or 'anything'}"
            self._context.abort(grpc.StatusCode.FAILED_PRECONDITION, told)
        try:
            self._blob.commit(digests.parse(self._expected))
        except IntegrityError as error:
            self._context.abort(grpc.StatusCode.FAILED_PRECONDITION, error.message)
        except LazybuildError as error:
            self._context.abort(grpc.StatusCode.UNKNOWN, error.message)
        return self._expected
