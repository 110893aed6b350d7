"""One blob into one repository: is it there, can it be mounted, else send it; resume or restart.

An engine over a Session; where the bytes come from is the caller's affair: `Source(offset)` gives
them from any offset, as often as it takes. The registry checks the digest at the end.
Spec: OCI distribution 1.1, "Pushing blobs" and "Mounting a blob".
"""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final
from urllib.parse import quote

from lazybuild.errors import BuildError, RegistryError
from lazybuild.oci.descriptor import Descriptor
from lazybuild.registry import trust
from lazybuild.registry.hosts import Endpoint
from lazybuild.registry.redact import shown
from lazybuild.registry.retry import Attempts, Kind, Trouble
from lazybuild.registry.session import NOT_FOUND, Reply, Request, Session

Source = Callable[[int], Iterable[bytes]]
Progress = Callable[[int], None]

PUSH: Final = "pull,push"
_SMALL: Final = 1 << 20  # sent in the closing PUT, which saves a request
_CHUNK_AFTER_413: Final = 16 << 20
_SMALLEST_CHUNK: Final = 1 << 20
_COMMIT_SECONDS: Final = 300.0  # a registry may copy the whole blob before it answers
_MOST_MOUNTS: Final = 3
_RANGE: Final = re.compile(r"(?:bytes=)?0-(\d{1,19})")
_OK, _CREATED, _ACCEPTED, _NO_CONTENT = 200, 201, 202, 204
_TOO_LARGE, _BAD_RANGE, _BAD_REQUEST = 413, 416, 400


class Way(StrEnum):
    """How a blob got to where it is."""

    THERE = "there"
    MOUNTED = "mounted"
    COPIED = "copied"
    UPLOADED = "uploaded"


class Upload:
    """The sending of one blob. `run` says whether it was there, mounted or sent."""

    def __init__(
        self,
        session: Session,
        endpoint: Endpoint,
        descriptor: Descriptor,
        source: Source,
        *,
        mounts: Sequence[str] = (),
        chunk: int = 0,
        progress: Progress = lambda _: None,
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._descriptor = descriptor
        self._source = source
        self._mounts = list(mounts)[:_MOST_MOUNTS]
        self._chunk = chunk
        self._progress = progress
        self._location = ""
        self._offset = 0
        self._resumed = False

    def run(self) -> Way:
        attempts = self._session.attempts(self._request("PUT"))
        if self._there(attempts):
            return Way.THERE
        while True:
            try:
                if self._begin(attempts):
                    return Way.MOUNTED
                self._send(attempts)
                return Way.UPLOADED
            except Trouble as trouble:
                attempts.failed(trouble)
            if self._there(attempts):
                return Way.UPLOADED
            self._resume(attempts)

    def _there(self, attempts: Attempts) -> bool:
        request = self._request("HEAD", path=f"blobs/{self._descriptor.digest}")
        with self._session.send(request, attempts).answer as answer:
            return answer.status == _OK

    def _begin(self, attempts: Attempts) -> bool:
        """Open an upload, unless one is open; True if a mount made it needless."""
        while not self._location and self._mounts:
            if self._mount(self._mounts.pop(0)):
                return True
        if not self._location:
            self._offset = 0
            self._resumed = False
            request = self._request("POST", path="blobs/uploads/")
            self._accept(request, self._session.once(request), (_ACCEPTED,), attempts)
        return False

    def _mount(self, repository: str) -> bool:
        request = self._request(
            "POST",
            path="blobs/uploads/",
            also=(repository,),
            query={"mount": self._descriptor.digest, "from": repository},
        )
        try:
            reply = self._session.once(request)
        except Trouble as trouble:
            if trouble.kind is Kind.REFUSED:
                return False  # no right to the other repository: send it like any other blob
            raise
        if reply.answer.status == _ACCEPTED:
            self._location = place_of(reply)
        reply.answer.close()
        return reply.answer.status == _CREATED

    def _send(self, attempts: Attempts) -> None:
        rest = self._descriptor.size - self._offset
        if not self._chunk and rest <= _SMALL:
            self._put(rest, attempts)
            return
        while self._offset < self._descriptor.size:
            self._patch(attempts)
        self._put(0, attempts)

    def _patch(self, attempts: Attempts) -> None:
        rest = self._descriptor.size - self._offset
        length = min(rest, self._chunk or rest)
        headers = {"Content-Type": "application/octet-stream"}
        if self._offset or length < rest:
            headers["Content-Range"] = f"{self._offset}-{self._offset + length - 1}"
        request = self._request(
            "PATCH",
            url=self._location,
            headers=headers,
            body=lambda: self._blocks(length),
            length=length,
        )
        reply = self._session.once(request)
        if reply.answer.status == _TOO_LARGE and length > _SMALLEST_CHUNK:
            reply.answer.close()
            self._chunk = max(min(length // 4, _CHUNK_AFTER_413), _SMALLEST_CHUNK)
            raise Trouble(Kind.SERVER, "413: going on in smaller pieces", retry_after=0.0)
        self._accept(request, reply, (_ACCEPTED, _NO_CONTENT, _CREATED), attempts)
        self._offset += length
        attempts.progressed()

    def _put(self, length: int, attempts: Attempts) -> None:
        glue = "&" if "?" in self._location else "?"
        request = self._request(
            "PUT",
            url=f"{self._location}{glue}digest={quote(self._descriptor.digest, safe=':')}",
            headers={"Content-Type": "application/octet-stream"},
            body=(lambda: self._blocks(length)) if length else None,
            length=length,
        )
        reply = self._session.once(request)
        if reply.answer.status == _BAD_REQUEST and self._resumed:
            self._forget(reply)  # pieces were put together wrongly: once more from the start
        self._accept(request, reply, (_CREATED, _NO_CONTENT, _OK), attempts)

    def _accept(
        self, request: Request, reply: Reply, wanted: tuple[int, ...], attempts: Attempts
    ) -> None:
        """Take the next location of an answer that is as it should be; raise for others."""
        status = reply.answer.status
        if status in wanted:
            if status != _OK and request.method != "PUT":
                self._location = place_of(reply) or self._location
            reply.answer.close()
        elif request.url and status in (NOT_FOUND, _BAD_RANGE):
            self._forget(reply, keep=status == _BAD_RANGE)
        else:
            self._session.refuse(request, reply, attempts)

    def _forget(self, reply: Reply, *, keep: bool = False) -> None:
        reply.answer.close()
        self._location = self._location if keep else ""
        raise Trouble(Kind.SERVER, f"{reply.answer.status}: the registry lost the upload")

    def _resume(self, attempts: Attempts) -> None:
        """Ask how much has arrived; without a clear answer begin a new upload."""
        if not self._location:
            return
        request = self._request("GET", url=self._location)
        try:
            reply = self._session.once(request)
        except Trouble:
            self._location = ""  # a new upload is sure, and its own failure will be told
            return
        match = _RANGE.fullmatch(reply.answer.header("Range"))
        arrived = int(match[1]) + 1 if match else 0
        known = reply.answer.status in (_OK, _NO_CONTENT)
        # "0-0" is said of one byte and of none.
        if known and 1 < arrived <= self._descriptor.size:
            self._offset, self._resumed = arrived, True
            self._location = place_of(reply) or self._location
            attempts.note(f"resuming {self._descriptor.digest} at byte {arrived}")
        else:
            self._location = ""
        reply.answer.close()

    def _blocks(self, length: int) -> Iterator[bytes]:
        """Exactly `length` bytes from the present offset, reported as they go."""
        place, end = self._offset, self._offset + length
        try:
            for block in self._source(place):
                piece = block[: end - place]
                place += len(piece)
                yield piece
                self._progress(place)
                if place == end:
                    return
        except OSError as error:
            raise BuildError(f"{self._descriptor.digest}: reading it failed: {error}") from error
        raise RegistryError(f"{self._descriptor.digest}: {end - place} bytes are missing")

    def _request(
        self,
        method: str,
        *,
        path: str = "",
        url: str = "",
        also: tuple[str, ...] = (),
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        body: Callable[[], Iterable[bytes]] | None = None,
        length: int = 0,
    ) -> Request:
        return Request(
            method=method,
            endpoint=self._endpoint,
            path=path,
            url=url,
            actions=PUSH,
            also=also,
            query=query or {},
            headers=headers or {},
            body=body,
            length=length,
            stall=_COMMIT_SECONDS if method == "PUT" else 0.0,
            subject=f"{self._endpoint.name}@{self._descriptor.digest}",
        )


def abandon(session: Session, endpoint: Endpoint, begun: Reply) -> None:
    """Drop an upload that was opened; a registry that can't is left to forget it by itself."""
    begun.answer.close()
    location = place_of(begun)
    if not location:
        return
    request = Request(method="DELETE", endpoint=endpoint, url=location, actions=PUSH)
    with contextlib.suppress(Trouble):
        session.once(request).answer.close()


def place_of(reply: Reply) -> str:
    """The URL to go on at. Another origin is allowed, and gets no credential."""
    location = reply.answer.header("Location")
    if not location:
        return ""
    try:
        return trust.follow(reply.url, location)
    except trust.NotTrustedError as error:
        raise Trouble(
            Kind.REFUSED, f"the upload location {shown(location)} is refused: {error}"
        ) from None
