"""`Registry`: everything that is read from registries, over mirrors and origin, verified.

Names are full repository names, "host[:port]/repository". What is pushed stands in `push`, what
refers to images in `referrers`; both take a Registry. Thread rule: shared by all threads.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self, TypeVar

from lazybuild.errors import IntegrityError, RegistryError
from lazybuild.events import Noted, Sink, Warned, discard
from lazybuild.oci import descriptor as media
from lazybuild.oci import digest as digests
from lazybuild.oci import reference
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.oci.reference import Reference
from lazybuild.registry import assembly, fetch
from lazybuild.registry.calls import Traffic
from lazybuild.registry.config import RegistryConfig
from lazybuild.registry.hosts import Endpoint, split_name
from lazybuild.registry.ranges import BlobRanges, RangelessHosts
from lazybuild.registry.retry import Policy
from lazybuild.registry.session import Request

T = TypeVar("T")

MANIFEST_LIMIT: Final = 4 << 20
MANIFEST_TYPES: Final = (
    media.OCI_INDEX,
    media.DOCKER_INDEX,
    media.OCI_MANIFEST,
    media.DOCKER_MANIFEST,
)
_ACCEPT: Final = {"Accept": ", ".join(MANIFEST_TYPES)}
_HEAD_UNKNOWN: Final = frozenset({400, 404, 405, 501})  # some registries know only GET
_FIRST_ERROR: Final = 400
_MOST_REMEMBERED: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A manifest or an index, verified: `data` has the descriptor's digest and size."""

    descriptor: Descriptor
    data: bytes


class Registry:
    """One per build and process. Close it, or use it as a context manager."""

    def __init__(self, config: RegistryConfig | None = None, sink: Sink = discard) -> None:
        self.config = config or RegistryConfig()
        self._sink = sink
        self.session = assembly.open_session(self.config, note=self.note, warn=self._warn)
        self.hosts = assembly.find_hosts(self.config)
        self._rangeless = RangelessHosts()
        self._documents: dict[str, Document] = {}

    @property
    def traffic(self) -> Traffic:
        return self.session.traffic

    def resolve(self, ref: Reference | str) -> Descriptor:
        """What a reference names now: a manifest or an index. One HEAD if the registry can."""
        full = _reference(ref)
        if full.digest:
            return self.document(full).descriptor
        return self._each(full, lambda endpoint, policy: self._resolve(endpoint, policy, full))

    def document(self, ref: Reference | str) -> Document:
        """The manifest or index that a reference names, with its digest pinned to the bytes."""
        full = _reference(ref)
        known = self._documents.get(f"{full.name}@{full.digest}")
        if known:
            return known
        found = self._each(full, lambda endpoint, policy: self._document(endpoint, policy, full))
        if len(self._documents) < _MOST_REMEMBERED:
            self._documents[f"{full.name}@{found.descriptor.digest}"] = found
        return found

    def manifest(self, name: Reference | str, digest: Digest) -> tuple[bytes, str]:
        """Bytes and media type of a manifest or index by its digest."""
        full_name = name.name if isinstance(name, Reference) else name
        registry, repository = split_name(full_name)
        found = self.document(Reference(registry=registry, repository=repository, digest=digest))
        return found.data, found.descriptor.media_type

    def ranges(self, names: Sequence[str], descriptor: Descriptor) -> BlobRanges:
        """Random access to a blob that any of the repositories `names` has, in this order."""
        endpoints: list[Endpoint] = []
        for name in names:
            endpoints += [e for e in self.hosts.pull(name) if e not in endpoints]
        if not endpoints:
            raise RegistryError(f"{descriptor.digest}: no registry is known to have it")
        policy = replace(self.session.policy, patience=self.config.patience)
        return BlobRanges(
            self.session,
            endpoints,
            descriptor,
            policy=policy,
            rangeless=self._rangeless,
            note=self.note,
            spool_folder=self.config.spool,
        )

    def blob(
        self,
        names: Sequence[str] | str,
        descriptor: Descriptor,
        *,
        start: int = 0,
        hasher: fetch.Hash | None = None,
    ) -> Iterator[bytes]:
        """A whole blob in order, in parallel ranges, verified at its end (see `fetch.stream`)."""
        ranges = self.ranges([names] if isinstance(names, str) else names, descriptor)
        try:
            yield from fetch.stream(ranges, descriptor, start=start, hasher=hasher)
        finally:
            ranges.close()

    def fetch_blob(
        self, names: Sequence[str] | str, descriptor: Descriptor, write: Callable[[bytes], object]
    ) -> None:
        """The same, handed to `write` block by block."""
        for block in self.blob(names, descriptor):
            write(block)

    def check(self, names: Sequence[str] | str, descriptor: Descriptor) -> None:
        """Read one byte of a blob: it is there and may be read. RegistryError if not."""
        ranges = self.ranges([names] if isinstance(names, str) else names, descriptor)
        try:
            ranges.probe()
        finally:
            ranges.close()

    def cancel(self) -> None:
        """Let every wait and every further request end at once, in all threads."""
        self.session.clock.cancel()

    def close(self) -> None:
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def note(self, message: str) -> None:
        self._sink(Noted(message=message))

    def _warn(self, message: str) -> None:
        self._sink(Warned(message=message))

    def _each(self, ref: Reference, action: Callable[[Endpoint, Policy], T]) -> T:
        """The first endpoint that can do it; mirrors get little patience, the origin all of it."""
        *mirrors, origin = self.hosts.pull(ref.name, by_digest=ref.digest is not None)
        hasty = replace(self.session.policy, attempts=2, connect_attempts=1)
        for mirror in mirrors:
            try:
                return action(mirror, hasty)
            except (RegistryError, IntegrityError) as error:
                self.note(f"mirror {mirror.host}: {error.message}; going on to the next")
        return action(origin, self.session.policy)

    def _resolve(self, endpoint: Endpoint, policy: Policy, ref: Reference) -> Descriptor:
        request = _manifest_request("HEAD", endpoint, ref)
        reply = self.session.send(request, self.session.attempts(request, policy))
        with reply.answer as answer:
            digest, kind = answer.header("Docker-Content-Digest"), answer.header("Content-Type")
            found = answer.status < _FIRST_ERROR and bool(digest) and answer.length is not None
            if found:
                return Descriptor(
                    media_type=_known_type(kind, request.title),
                    digest=digests.parse(digest),
                    size=answer.length or 0,
                )
            if answer.status >= _FIRST_ERROR and answer.status not in _HEAD_UNKNOWN:
                self.session.refuse(request, reply)
        return self._document(endpoint, policy, ref).descriptor

    def _document(self, endpoint: Endpoint, policy: Policy, ref: Reference) -> Document:
        request = _manifest_request("GET", endpoint, ref)
        attempts = self.session.attempts(request, policy)
        reply, data = self.session.fetch(request, MANIFEST_LIMIT, attempts)
        actual = digests.of(data)
        wanted = ref.digest or reply.answer.header("Docker-Content-Digest") or actual
        if actual != wanted:
            raise IntegrityError(f"{request.title}: the bytes that came have the digest {actual}")
        kind = _known_type(reply.answer.header("Content-Type"), request.title, data)
        _check_structure(data, kind, request.title)
        return Document(
            descriptor=Descriptor(media_type=kind, digest=actual, size=len(data)), data=data
        )


def _reference(ref: Reference | str) -> Reference:
    return reference.parse(ref) if isinstance(ref, str) else ref


def _manifest_request(method: str, endpoint: Endpoint, ref: Reference) -> Request:
    what = ref.digest or ref.tag
    glue = "@" if ref.digest else ":"
    return Request(
        method=method,
        endpoint=endpoint,
        path=f"manifests/{what}",
        headers=_ACCEPT,
        subject=f"{endpoint.name}{glue}{what}",
    )


def _known_type(header: str, title: str, data: bytes = b"") -> str:
    """The media type a registry tells, or the document's own if it tells nothing of use."""
    kind = header.partition(";")[0].strip().lower()
    if kind in MANIFEST_TYPES:
        return kind
    from lazybuild.oci import codec  # noqa: PLC0415  # a fifth of this module's start, often unused

    if data and kind in ("", "application/json", "application/octet-stream", "text/plain"):
        return codec.parse_document(data).media_type
    raise RegistryError(
        f"{title}: neither an image manifest nor an index, but {kind[:100]!r}",
        hint="images of the old schema 1 and other artefacts can't be used here",
    )


def _check_structure(data: bytes, kind: str, title: str) -> None:
    from lazybuild.oci import codec  # noqa: PLC0415  # see above

    try:
        codec.parse_document(data, kind)
    except IntegrityError as error:
        raise IntegrityError(f"{title}: {error.message}") from error
