"""Statements about an image, and the index that holds the image and what is stated of it. Pure.

As BuildKit lays them out (docs/attestations/attestation-storage.md): an index of the image's
manifest and an attestation manifest for the platform unknown/unknown, whose layers are in-toto
statements.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lazybuild.oci import codec, digest
from lazybuild.oci.descriptor import OCI_CONFIG, Descriptor
from lazybuild.oci.digest import DiffID
from lazybuild.oci.image import ImageConfig, Index, Manifest

IN_TOTO = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v0.1"
PREDICATE_TYPE = "in-toto.io/predicate-type"
REFERENCE_TYPE = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
UNKNOWN: Mapping[str, object] = {"architecture": "unknown", "os": "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicate:
    """What is stated, and the URI that says what kind of thing it is. `file` is a name for it where
    it becomes one.
    """

    type: str
    body: Mapping[str, object]
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """The manifest that holds the statements, and the blobs it needs, its config first."""

    descriptor: Descriptor
    manifest: bytes
    blobs: tuple[tuple[Descriptor, bytes], ...]


def attestation(
    image: Descriptor, names: Sequence[str], predicates: Sequence[Predicate]
) -> Attestation:
    """`names` are package URLs that the image goes by."""
    layers = [_statement(image, names, predicate) for predicate in predicates]
    config = ImageConfig(
        architecture="unknown",
        os="unknown",
        diff_ids=tuple(DiffID(descriptor.digest) for descriptor, _ in layers),
    )
    data = codec.encode(config)
    described = Descriptor(media_type=OCI_CONFIG, digest=digest.of(data), size=len(data))
    manifest = Manifest(config=described, layers=tuple(descriptor for descriptor, _ in layers))
    notes = {REFERENCE_TYPE: "attestation-manifest", REFERENCE_DIGEST: image.digest}
    return Attestation(
        descriptor=replace(codec.describe(manifest), annotations=notes, platform=UNKNOWN),
        manifest=codec.encode(manifest),
        blobs=((described, data), *layers),
    )


def index(
    images: Sequence[tuple[Descriptor, Mapping[str, object]]], attached: Sequence[Attestation]
) -> Index:
    """Images with their platforms, and after them what is stated of them, as BuildKit does."""
    listed = [replace(image, platform=platform) for image, platform in images]
    return Index(manifests=(*listed, *(one.descriptor for one in attached)))


def _statement(
    image: Descriptor, names: Sequence[str], predicate: Predicate
) -> tuple[Descriptor, bytes]:
    subject = {"sha256": digest.hex_part(image.digest)}
    statement = {
        "_type": STATEMENT,
        "predicateType": predicate.type,
        "subject": [{"name": name, "digest": subject} for name in names or ("_",)],
        "predicate": predicate.body,
    }
    data = json.dumps(statement, indent=2).encode()
    descriptor = Descriptor(
        media_type=IN_TOTO,
        digest=digest.of(data),
        size=len(data),
        annotations={PREDICATE_TYPE: predicate.type},
    )
    return descriptor, data
