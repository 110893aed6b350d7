"""What refers to an image: listed and pushed by the referrers API, or by the tag that replaces it.

Spec: OCI distribution 1.1, "Listing Referrers" and "Pushing Manifests with Subject".
"""

import re
from collections.abc import Iterator
from typing import Final

from lazybuild.errors import IntegrityError, RegistryError
from lazybuild.oci import codec
from lazybuild.oci.descriptor import OCI_INDEX, Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.oci.image import Index, Manifest
from lazybuild.registry import trust
from lazybuild.registry.client import MANIFEST_LIMIT, Registry
from lazybuild.registry.hosts import Endpoint
from lazybuild.registry.push import ManifestToPush, put_manifest
from lazybuild.registry.redact import shown
from lazybuild.registry.session import NOT_FOUND, Reply, Request

_MOST_PAGES: Final = 64
_MOST_FOUND: Final = 10_000
_NO_API: Final = frozenset({400, 404, 405, 501})
_LINK: Final = re.compile(r'<([^<>]*)>\s*;[^,]*\brel="?next"?')


def list_referrers(
    registry: Registry, name: str, subject: Digest, *, artifact_type: str = ""
) -> tuple[Descriptor, ...]:
    """Everything that refers to `subject` in the repository, of one artifact type or of any."""
    endpoint = registry.hosts.push(name)
    found = _from_api(registry, endpoint, subject, artifact_type)
    if found is None:
        index = _tagged_index(registry, name, subject)
        found = list(index.manifests) if index else []
    return tuple(d for d in found if artifact_type in ("", d.artifact_type))


def push_referrer(
    registry: Registry, name: str, manifest: ManifestToPush, *, tags: tuple[str, ...] = ()
) -> Descriptor:
    """Push a manifest that has a subject, and make sure that it will be found there."""
    value = codec.parse_document(manifest.data, manifest.media_type)
    if value.subject is None:
        raise IntegrityError("a manifest without a subject refers to nothing")
    endpoint = registry.hosts.push(name)
    noticed = put_manifest(registry, endpoint, manifest, manifest.descriptor.digest)
    if not noticed and _from_api(registry, endpoint, value.subject.digest, "") is None:
        _add_to_tag(registry, name, value.subject.digest, _described(manifest, value))
    for tag in tags:
        put_manifest(registry, endpoint, manifest, tag)
    return manifest.descriptor


def _from_api(
    registry: Registry, endpoint: Endpoint, subject: Digest, artifact_type: str
) -> list[Descriptor] | None:
    """None if the registry has no such API."""
    query = {"artifactType": artifact_type} if artifact_type else {}
    request = Request(
        method="GET",
        endpoint=endpoint,
        path=f"referrers/{subject}",
        query=query,
        headers={"Accept": OCI_INDEX},
        subject=f"{endpoint.name}@{subject} (referrers)",
    )
    found: list[Descriptor] = []
    for index in _pages(registry, request):
        if index is None:
            return None
        found += index.manifests
        if len(found) > _MOST_FOUND:
            raise RegistryError(f"{request.title}: more than {_MOST_FOUND} referrers")
    return found


def _pages(registry: Registry, first: Request) -> Iterator[Index | None]:
    """All pages, of one origin and none twice; one None if there is no such API."""
    request, seen = first, set[str]()
    while True:
        reply, data = _fetch(registry, request, frozenset() if seen else _NO_API)
        kind = reply.answer.header("Content-Type")
        if reply.answer.status in _NO_API or not kind.startswith(OCI_INDEX):
            yield None  # or a proxy that answers 200 to everything
            return
        seen.add(reply.url)
        yield _index(data, first)
        place = _following(reply, request)
        if not place:
            return
        if place in seen or len(seen) >= _MOST_PAGES:
            raise RegistryError(f"{first.title}: its pages don't come to an end")
        request = Request(
            method="GET",
            endpoint=first.endpoint,
            url=place,
            headers=first.headers,
            subject=first.subject,
        )


def _following(reply: Reply, request: Request) -> str:
    match = _LINK.search(reply.answer.header("Link")[:4096])
    if not match:
        return ""
    try:
        place = trust.follow(reply.url, match[1])
    except trust.NotTrustedError as error:
        raise RegistryError(f"{request.title}: {shown(match[1])}: {error}") from None
    if trust.origin(place) != trust.origin(reply.url):
        raise RegistryError(f"{request.title}: its next page is on another host, {shown(place)}")
    return place


def fallback_tag(subject: Digest) -> str:
    """The tag whose index lists the referrers where the API is missing."""
    return subject.replace(":", "-")[:128]


def _tagged_index(registry: Registry, name: str, subject: Digest) -> Index | None:
    """The index under the fallback tag, past the client's memory; None if there is none."""
    endpoint = registry.hosts.push(name)
    request = Request(
        method="GET",
        endpoint=endpoint,
        path=f"manifests/{fallback_tag(subject)}",
        headers={"Accept": OCI_INDEX},
        subject=f"{endpoint.name}:{fallback_tag(subject)}",
    )
    reply, data = _fetch(registry, request, frozenset({NOT_FOUND}))
    return None if reply.answer.status == NOT_FOUND else _index(data, request)


def _fetch(registry: Registry, request: Request, absent: frozenset[int]) -> tuple[Reply, bytes]:
    attempts = registry.session.attempts(request)
    return registry.session.fetch(request, MANIFEST_LIMIT, attempts, absent=absent)


def _index(data: bytes, request: Request) -> Index:
    try:
        return codec.parse_index(data)
    except IntegrityError as error:
        raise IntegrityError(f"{request.title}: {error.message}") from error


def _add_to_tag(registry: Registry, name: str, subject: Digest, added: Descriptor) -> None:
    """Read, add, write, and look whether another one wrote at the same time."""
    endpoint = registry.hosts.push(name)
    for _ in range(registry.config.retries + 1):
        old = _tagged_index(registry, name, subject)
        listed = old.manifests if old else ()
        if any(d.digest == added.digest for d in listed):
            return
        index = Index(media_type=OCI_INDEX, manifests=(*listed, added))
        data = codec.encode(index)
        put_manifest(
            registry,
            endpoint,
            ManifestToPush(data=data, media_type=OCI_INDEX),
            fallback_tag(subject),
        )
    raise RegistryError(
        f"{name}:{fallback_tag(subject)}: others change this list of referrers all the time"
    )


def _described(manifest: ManifestToPush, value: Manifest | Index) -> Descriptor:
    plain = manifest.descriptor
    kind = value.artifact_type
    if not kind and isinstance(value, Manifest):
        kind = value.config.media_type
    return Descriptor(
        media_type=plain.media_type,
        digest=plain.digest,
        size=plain.size,
        artifact_type=kind,
        annotations=value.annotations,
    )
