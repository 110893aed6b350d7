"""Random access to one blob at its registries: `oci.ranges.RangeReader` over HTTP.

Single ranges only, in parallel as the caller's threads ask for them. Remembers where a redirect
led, goes back when that place forbids, resumes bodies that end early, and changes to reading the
whole blob once, in order, at hosts that don't know ranges. It does not check digests: who reads a
part knows the part's digest, and asks again with `reread_at`.
Thread rule: shared by all threads.
"""

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from lazybuild.oci.descriptor import Descriptor
from lazybuild.registry.hosts import Endpoint
from lazybuild.registry.retry import Attempts, Kind, Policy, Trouble
from lazybuild.registry.session import Reply, Request, Session
from lazybuild.registry.spool import Spool

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_STALE: Final = frozenset({400, 401, 403, 404, 410})  # a remembered place that has had its day
_NO_RANGES: Final = frozenset({400, 416, 501})
_GONE: Final = frozenset({404, 410})
_OK, _PARTIAL = 200, 206


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeStats:
    """What one blob cost so far. `whole` says why it is read whole, or is ""."""

    requests: int = 0
    bytes: int = 0
    retries: int = 0
    whole: str = ""


@dataclass(slots=True, kw_only=True)
class _Source:
    """One endpoint that has the blob; `place` is where its redirect led last."""

    endpoint: Endpoint
    place: str = ""


class _NoRanges(Exception):  # noqa: N818  # a turn of events
    """The host sends everything or refuses ranges; `reply` is the whole body if it sent it."""

    def __init__(self, source: _Source, why: str, reply: Reply | None) -> None:
        super().__init__(why)
        self.source = source
        self.why = why
        self.reply = reply


@dataclass(slots=True)
class RangelessHosts:
    """Hosts that were seen not to know ranges, shared by all blobs of a Registry."""

    hosts: set[str] = field(default_factory=set)


class BlobRanges:
    """`size`, `read_at`, `reread_at`, `stats`."""

    def __init__(
        self,
        session: Session,
        endpoints: Sequence[Endpoint],
        descriptor: Descriptor,
        *,
        policy: Policy,
        rangeless: RangelessHosts,
        note: Callable[[str], None],
        spool_folder: str = "",
    ) -> None:
        self.descriptor = descriptor
        self._session = session
        self._sources = [_Source(endpoint=endpoint) for endpoint in endpoints]
        self._policy = policy
        self._rangeless = rangeless
        self._note = note
        self._spool_folder = spool_folder
        self._lock = threading.Lock()
        self._spool: Spool | None = None
        self._stats = RangeStats()

    @property
    def size(self) -> int:
        return self.descriptor.size

    @property
    def stats(self) -> RangeStats:
        return self._stats

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(source.endpoint.host for source in self._sources)

    def read_at(self, offset: int, length: int) -> bytes:
        return self._read(offset, length, self._sources[0], fresh=False)

    def reread_at(self, offset: int, length: int, *, tried: int = 0) -> bytes:
        """Once more, past all caches: from the same source first, then from the next ones."""
        source = self._sources[min(tried, len(self._sources) - 1)]
        source.place = ""
        return self._read(offset, length, source, fresh=True)

    def probe(self) -> None:
        """One byte, to learn that the blob is there and may be read."""
        if self.size:
            self.read_at(0, 1)

    def close(self) -> None:
        with self._lock:
            if self._spool:
                self._spool.close()

    def _read(self, offset: int, length: int, source: _Source, *, fresh: bool) -> bytes:
        if not 0 <= offset <= offset + length <= self.size:
            raise ValueError(f"range {offset}+{length} of a blob of {self.size} bytes")
        if not length:
            return b""
        if self._spool:
            return self._spool.read_at(offset, length)
        try:
            if source.endpoint.host in self._rangeless.hosts and length < self.size:
                raise _NoRanges(source, "it has no ranges", None)
            return self._gather(offset, length, source, fresh=fresh)
        except _NoRanges as turn:
            return self._whole(turn).read_at(offset, length)

    def _gather(self, offset: int, length: int, source: _Source, *, fresh: bool) -> bytes:
        """The bytes, over as many requests and sources as it takes."""
        data = bytearray()
        untried = [other for other in self._sources if other is not source]
        attempts = self._attempts(source)
        while len(data) < length:
            try:
                reply = self._open(source, offset + len(data), length - len(data), fresh=fresh)
                self._fill(data, length, reply, attempts)
            except Trouble as trouble:
                self._count(retries=1)
                if untried and not (trouble.kind is Kind.BROKEN and not attempts.in_row):
                    source = self._change(source, untried.pop(0), trouble)
                    attempts = self._attempts(source)
                else:
                    attempts.failed(trouble)
        return bytes(data)

    def _fill(self, data: bytearray, length: int, reply: Reply, attempts: Attempts) -> None:
        with reply.answer as answer:
            for block in answer.blocks(length - len(data)):
                data += block
                self._count(received=len(block))
                attempts.progressed()
            if len(data) < length:
                raise Trouble(Kind.BROKEN, f"ended after {len(data)} of {length} bytes")

    def _open(self, source: _Source, offset: int, length: int, *, fresh: bool) -> Reply:
        """An answer that will give exactly these bytes. Raises Trouble or _NoRanges."""
        place = source.place
        request = self._request(source, place, offset, length, fresh=fresh)
        reply = self._session.once(request)
        self._count(requests=1)
        if place and reply.answer.status in _STALE:
            reply.answer.close()
            source.place = ""
            request = self._request(source, "", offset, length, fresh=fresh)
            reply = self._session.once(request)
            self._count(requests=1)
        try:
            self._judge(source, request, reply, offset, length)
        except _NoRanges:
            raise  # with the open reply, if it is of use
        except BaseException:
            reply.answer.close()
            raise
        source.place = "" if reply.url == self._session.url(request) else reply.url
        return reply

    def _judge(
        self, source: _Source, request: Request, reply: Reply, offset: int, length: int
    ) -> None:
        answer = reply.answer
        if answer.header("Content-Encoding").lower() not in ("", "identity"):
            raise Trouble(Kind.REFUSED, "it encodes the content of a blob, which was not asked for")
        if answer.status == _PARTIAL:
            check_content_range(answer.header("Content-Range"), offset, length, self.size)
        elif answer.status == _OK:
            if answer.length not in (None, self.size):
                raise Trouble(
                    Kind.REFUSED, f"the blob has {answer.length} bytes instead of {self.size}"
                )
            if offset or length < self.size:
                raise _NoRanges(source, "it answers 200 to a range", reply)
        elif answer.status in _NO_RANGES and "Range" in request.headers:
            answer.close()
            raise _NoRanges(source, f"it answers {answer.status} to a range", None)
        else:
            trouble = self._session.complaint(request, reply)
            if answer.status in _GONE and self._stats.bytes:
                trouble.message += "; it was there before, so it was deleted during this build"
            raise trouble

    def _request(
        self, source: _Source, place: str, offset: int, length: int, *, fresh: bool
    ) -> Request:
        headers = {"Cache-Control": "no-cache", "Pragma": "no-cache"} if fresh else {}
        if offset or length < self.size:
            headers["Range"] = f"bytes={offset}-{offset + length - 1}"
        return Request(
            method="GET",
            endpoint=source.endpoint,
            path=f"blobs/{self.descriptor.digest}",
            url=place,
            headers=headers,
            subject=self._subject(source),
        )

    def _change(self, old: _Source, new: _Source, trouble: Trouble) -> _Source:
        """Go on at another source, for later reads too."""
        self._note(f"{old.endpoint.host}: {trouble.message}; going on at {new.endpoint.host}")
        with self._lock:
            if self._sources[0] is old:
                self._sources = [*self._sources[1:], old]
        return new

    def _whole(self, turn: _NoRanges) -> Spool:
        """Read the blob in order into a file from now on; the first thread to come sets it up."""
        host = turn.source.endpoint.host
        with self._lock:
            if self._spool:
                if turn.reply:
                    turn.reply.answer.close()
                return self._spool
            if host not in self._rangeless.hosts:
                self._note(f"lazy off for {host}: {turn.why}; its layers are read whole")
            self._rangeless.hosts.add(host)
            self._spool = Spool(
                self.descriptor,
                lambda: self._open(turn.source, 0, self.size, fresh=False),
                lambda: self._attempts(turn.source),
                folder=self._spool_folder,
                first=turn.reply,
                count=lambda count: self._count(received=count),
            )
            self._stats = replace_whole(self._stats, f"{host}: {turn.why}")
            return self._spool

    def _attempts(self, source: _Source) -> Attempts:
        request = Request(method="GET", endpoint=source.endpoint, subject=self._subject(source))
        return self._session.attempts(request, self._policy)

    def _subject(self, source: _Source) -> str:
        return f"{source.endpoint.name}@{self.descriptor.digest}"

    def _count(self, *, requests: int = 0, received: int = 0, retries: int = 0) -> None:
        with self._lock:
            old = self._stats
            self._stats = RangeStats(
                requests=old.requests + requests,
                bytes=old.bytes + received,
                retries=old.retries + retries,
                whole=old.whole,
            )


def replace_whole(stats: RangeStats, whole: str) -> RangeStats:
    return RangeStats(
        requests=stats.requests, bytes=stats.bytes, retries=stats.retries, whole=whole
    )


def check_content_range(value: str, offset: int, length: int, size: int) -> None:
    """A 206 must hold exactly what was asked for. Raises Trouble."""
    match = _CONTENT_RANGE.fullmatch(value.strip())
    wanted = (str(offset), str(offset + length - 1))
    if not match or match.groups()[:2] != wanted or match[3] not in ("*", str(size)):
        raise Trouble(
            Kind.REFUSED,
            f"asked for bytes {wanted[0]}-{wanted[1]} of {size}, it sends {value[:60]!r}",
        )
