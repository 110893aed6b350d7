"""Images into registries: all blobs in parallel, then manifests, children first, the tag last.

A blob that is not on this machine is mounted from a repository of the same registry, or copied
as a stream from where it is, without being stored here.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Final

from lazybuild.errors import IntegrityError, RegistryError
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import Digest, of
from lazybuild.registry import fetch
from lazybuild.registry.client import MANIFEST_LIMIT, Registry
from lazybuild.registry.hosts import Endpoint
from lazybuild.registry.session import Request
from lazybuild.registry.upload import PUSH, Source, Upload, Way, abandon
from lazybuild.store import Place

WORKERS: Final = 4
_BLOCK: Final = 256 * 1024
_GOOD: Final = range(200, 300)
_ACCEPTED: Final = 202
_COMMIT_SECONDS: Final = 300.0

Progress = Callable[[Descriptor, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """What to push: from `source` on this machine, or from repositories that have it."""

    descriptor: Descriptor
    source: Source | None = None
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestToPush:
    """A manifest or index; without a tag it is pushed under its digest."""

    data: bytes
    media_type: str
    tags: tuple[str, ...] = ()

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(media_type=self.media_type, digest=of(self.data), size=len(self.data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """The last manifest, and for each blob how it got there and how many bytes were sent."""

    descriptor: Descriptor
    ways: Mapping[Digest, Way] = field(default_factory=dict)
    sent: int = 0


def from_place(place: Place) -> Source:
    """A source that reads a file, or a part of one, from any offset."""

    def blocks(offset: int) -> Iterable[bytes]:
        with place.open() as file:
            file.seek(offset)
            while block := file.read(_BLOCK):
                yield block

    return blocks


def from_bytes(data: bytes) -> Source:
    return lambda offset: [data[offset:]]


def push(
    registry: Registry,
    name: str,
    blobs: Sequence[Blob],
    manifests: Sequence[ManifestToPush],
    *,
    progress: Progress = lambda _descriptor, _sent: None,
) -> Pushed:
    """Everything into the repository `name`; `manifests` with children before their parents."""
    if not manifests:
        raise ValueError("nothing to push")
    endpoint = registry.hosts.push(name)
    unique = {blob.descriptor.digest: blob for blob in blobs}
    tally = _Tally(progress)
    ways = _in_parallel(
        {digest: _task(registry, endpoint, blob, tally) for digest, blob in unique.items()}
    )
    for manifest in manifests:
        for ref in manifest.tags or (manifest.descriptor.digest,):
            put_manifest(registry, endpoint, manifest, ref)
    return Pushed(descriptor=manifests[-1].descriptor, ways=ways, sent=tally.sent)


def push_blob(registry: Registry, name: str, blob: Blob) -> Way:
    return _task(registry, registry.hosts.push(name), blob, _Tally(lambda _d, _n: None))()


def check_push(registry: Registry, name: str) -> None:
    """Open an upload and drop it: RegistryError now rather than after a long build."""
    endpoint = registry.hosts.push(name)
    request = Request(
        method="POST",
        endpoint=endpoint,
        path="blobs/uploads/",
        actions=PUSH,
        subject=f"{endpoint.name} (may it be pushed to?)",
    )
    reply = registry.session.send(request)
    if reply.answer.status != _ACCEPTED:
        registry.session.refuse(request, reply)
    abandon(registry.session, endpoint, reply)


def put_manifest(registry: Registry, endpoint: Endpoint, manifest: ManifestToPush, ref: str) -> str:
    """PUT under a tag or digest; the subject that the registry took note of, or ""."""
    if len(manifest.data) > MANIFEST_LIMIT:
        raise IntegrityError(f"a manifest of {len(manifest.data)} bytes is larger than 4 MiB")
    digest = manifest.descriptor.digest
    glue = "@" if ref == digest else ":"
    request = Request(
        method="PUT",
        endpoint=endpoint,
        path=f"manifests/{ref}",
        actions=PUSH,
        headers={"Content-Type": manifest.media_type},
        body=lambda: [manifest.data],
        length=len(manifest.data),
        stall=_COMMIT_SECONDS,
        subject=f"{endpoint.name}{glue}{ref}",
    )
    reply = registry.session.send(request)
    with reply.answer as answer:
        if answer.status not in _GOOD:
            registry.session.refuse(request, reply)
        told = answer.header("Docker-Content-Digest")
        if told and told != digest:
            raise RegistryError(f"{request.title}: it says that it stored {told[:80]!r}")
        return answer.header("OCI-Subject")


class _Tally:
    """Adds up what is sent; called from all workers."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._at: dict[Digest, int] = {}
        self.sent = 0

    def at(self, descriptor: Descriptor, place: int) -> None:
        with self._lock:
            before = self._at.get(descriptor.digest, 0)
            self._at[descriptor.digest] = place
            self.sent += max(place - before, 0)
        self._progress(descriptor, place)


def _task(registry: Registry, endpoint: Endpoint, blob: Blob, tally: _Tally) -> Callable[[], Way]:
    def run() -> Way:
        upload = Upload(
            registry.session,
            endpoint,
            blob.descriptor,
            blob.source or _remote(registry, blob),
            mounts=_mounts(registry, endpoint, blob),
            chunk=registry.config.upload_chunk,
            progress=lambda place: tally.at(blob.descriptor, place),
        )
        way = upload.run()
        return Way.COPIED if way is Way.UPLOADED and blob.source is None else way

    return run


def _mounts(registry: Registry, endpoint: Endpoint, blob: Blob) -> list[str]:
    """Repositories of the same registry that have the blob."""
    found = []
    for name in blob.origins:
        there = registry.hosts.push(name)
        if there.host == endpoint.host and there.repository != endpoint.repository:
            found.append(there.repository)
    return found


def _remote(registry: Registry, blob: Blob) -> Source:
    """The blob as it comes from its origins; the registry that takes it checks the digest."""

    def blocks(offset: int) -> Iterable[bytes]:
        ranges = registry.ranges(blob.origins, blob.descriptor)
        try:
            yield from fetch.parts(ranges, offset, blob.descriptor.size)
        finally:
            ranges.close()

    return blocks


def _in_parallel(tasks: Mapping[Digest, Callable[[], Way]]) -> dict[Digest, Way]:
    """All of them, or the first error; those not begun by then are dropped."""
    with ThreadPoolExecutor(WORKERS, "push") as pool:
        futures = {digest: pool.submit(task) for digest, task in tasks.items()}
        done, waiting = wait(futures.values(), return_when=FIRST_EXCEPTION)
        for future in waiting:
            future.cancel()
        for future in done:
            future.result()
    return {digest: future.result() for digest, future in futures.items()}
