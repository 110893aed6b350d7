"""What was stated of an image, said of the one that was written anew from it."""

import json
from collections.abc import Iterator, Mapping

from lazybuild.build.library import Found, Library
from lazybuild.build.space import Space
from lazybuild.errors import IntegrityError
from lazybuild.exporters.attestation import (
    IN_TOTO,
    PREDICATE_TYPE,
    REFERENCE_DIGEST,
    REFERENCE_TYPE,
    Predicate,
)
from lazybuild.oci import codec
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.oci.image import Manifest

MAX_STATEMENT = 64 << 20


def predicates(space: Space, found: Found) -> Mapping[Digest, list[Predicate]]:
    """By the digest of the image that they are of; its blobs are in the store."""
    return {
        Digest(of): [_predicate(space, layer) for layer in document.layers]
        for of, document in _attached(Library(space), found)
    }


def _attached(library: Library, found: Found) -> Iterator[tuple[str, Manifest]]:
    for descriptor, data in library.manifests(found):
        if REFERENCE_TYPE in descriptor.annotations:
            document = codec.parse_document(data)
            if not isinstance(document, Manifest):
                raise IntegrityError(f"{descriptor.digest}: an index where statements should be")
            yield descriptor.annotations.get(REFERENCE_DIGEST, ""), document


def _predicate(space: Space, layer: Descriptor) -> Predicate:
    if layer.media_type != IN_TOTO:
        raise IntegrityError(f"{layer.digest}: {layer.media_type} where a statement should be")
    try:
        statement = json.loads(space.store.blobs.read(layer.digest, MAX_STATEMENT))
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{layer.digest}: a statement that can't be read") from error
    body = statement.get("predicate") if isinstance(statement, dict) else None
    if not isinstance(body, dict):
        raise IntegrityError(f"{layer.digest}: a statement without a predicate")
    return Predicate(type=layer.annotations.get(PREDICATE_TYPE, ""), body=body)
