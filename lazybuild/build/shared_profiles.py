"""Access profiles at registries: referrers of a base image, found and pushed.

A profile never makes a build fail and never makes it wait long: this registry client gives up
after the first attempt. Knows no step: `ahead` uses what is found, `sharing` has it pushed.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from lazybuild.build import profile
from lazybuild.build.profile import MEDIA_TYPE, Profile, StepReads
from lazybuild.errors import IntegrityError, LazybuildError
from lazybuild.oci import codec, times
from lazybuild.oci import digest as digests
from lazybuild.oci.descriptor import OCI_EMPTY, Descriptor
from lazybuild.oci.image import Index, Manifest
from lazybuild.registry import push, referrers
from lazybuild.registry.client import Registry
from lazybuild.registry.config import RegistryConfig
from lazybuild.registry.push import Blob, ManifestToPush

CREATED = "org.opencontainers.image.created"
NEWEST = 3
EMPTY = b"{}"


def open_registry(config: RegistryConfig) -> Registry:
    """A client of little patience."""
    return Registry(replace(config, retries=0, connect_timeout=3.0, stall_timeout=5.0))


def find(
    registry: Registry, name: str, base: digests.Digest, note: Callable[[str], None]
) -> Profile:
    """What is known in the repository `name` of steps over a base, the newest records first."""
    listed = referrers.list_referrers(registry, name, base, artifact_type=MEDIA_TYPE)
    newest = sorted(listed, key=lambda item: item.annotations.get(CREATED, ""), reverse=True)
    found = Profile()
    for descriptor in newest[:NEWEST]:
        try:
            older = _load(registry, name, descriptor)
        except LazybuildError as error:
            note(f"access profile {descriptor.digest} of {name} is left out: {error.message}")
        else:
            found = older.updated(found.steps)
    return found


def publish(
    registry: Registry, name: str, base: Descriptor, known: Profile, steps: Sequence[StepReads]
) -> Descriptor:
    """Push these records, together with those that are known, as a referrer of the base."""
    data = profile.encode(known.updated(steps))
    document = _described(MEDIA_TYPE, data)
    nothing = _described(OCI_EMPTY, EMPTY)
    manifest = Manifest(
        artifact_type=MEDIA_TYPE,
        config=nothing,
        layers=(document,),
        subject=Descriptor(media_type=base.media_type, digest=base.digest, size=base.size),
        annotations={CREATED: times.format_ns(time.time_ns())},
    )
    for descriptor, content in ((nothing, EMPTY), (document, data)):
        blob = Blob(descriptor=descriptor, source=push.from_bytes(content))
        push.push_blob(registry, name, blob)
    text = codec.encode(manifest)
    return referrers.push_referrer(
        registry, name, ManifestToPush(data=text, media_type=manifest.media_type)
    )


def _load(registry: Registry, name: str, descriptor: Descriptor) -> Profile:
    data, media_type = registry.manifest(name, descriptor.digest)
    manifest = codec.parse_document(data, media_type)
    if isinstance(manifest, Index) or len(manifest.layers) != 1:
        raise IntegrityError("its manifest is no profile's")
    blob = manifest.layers[0]
    if blob.media_type != MEDIA_TYPE or blob.size > profile.MAX_BYTES:
        raise IntegrityError(f"{blob.size} bytes of {blob.media_type}")
    return profile.parse(b"".join(registry.blob(name, blob)))


def _described(media_type: str, data: bytes) -> Descriptor:
    return Descriptor(media_type=media_type, digest=digests.of(data), size=len(data))
