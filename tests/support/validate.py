"""Proof that an image is what its digests say: every byte is read and every digest made again.

Sizes, digests, diff IDs and layer counts are compared here; how a layer is decompressed and what a
TOC must look like are callbacks. Streams; one layer at a time.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import BinaryIO

from lazybuild.errors import IntegrityError
from lazybuild.oci import codec
from lazybuild.oci.descriptor import TOC_DIGEST, Descriptor
from lazybuild.oci.digest import DiffID
from lazybuild.oci.image import Manifest
from lazybuild.oci.verified import VerifiedReader

Fetch = Callable[[Descriptor], BinaryIO]
Decompress = Callable[[BinaryIO, str], BinaryIO]
CheckToc = Callable[[Descriptor, str], None]

_PIECE = 1 << 20


def problems(
    descriptor: Descriptor,
    fetch: Fetch,
    decompress: Decompress,
    check_toc: CheckToc | None = None,
) -> Iterator[str]:
    """What is wrong with an image or an index and all that it holds, one sentence each."""
    pending, seen = [descriptor], {descriptor.digest}
    while pending:
        here = pending.pop(0)
        try:
            document = codec.parse_document(_whole(here, fetch), here.media_type)
        except IntegrityError as error:
            yield error.message
            continue
        if isinstance(document, Manifest):
            yield from _image(document, fetch, decompress, check_toc)
        else:
            pending += [child for child in document.manifests if child.digest not in seen]
            seen |= {child.digest for child in document.manifests}


def validate(
    descriptor: Descriptor,
    fetch: Fetch,
    decompress: Decompress,
    check_toc: CheckToc | None = None,
) -> None:
    """Raise IntegrityError with all that is wrong, if anything is."""
    found = list(problems(descriptor, fetch, decompress, check_toc))
    if found:
        raise IntegrityError("; ".join(found))


def _whole(descriptor: Descriptor, fetch: Fetch) -> bytes:
    if descriptor.size > codec.MAX_BYTES:
        raise IntegrityError(f"{descriptor.digest}: {descriptor.size} bytes of JSON are too many")
    with closing(VerifiedReader(fetch(descriptor), descriptor)) as stream:
        return stream.readall()


def _image(
    manifest: Manifest, fetch: Fetch, decompress: Decompress, check_toc: CheckToc | None
) -> Iterator[str]:
    try:
        raw = _whole(manifest.config, fetch)
        diff_ids = codec.parse_config(raw).diff_ids if _is_image(manifest) else None
    except IntegrityError as error:
        yield error.message
        return
    if diff_ids is None:
        return
    if len(diff_ids) != len(manifest.layers):
        yield f"{len(manifest.layers)} layers but {len(diff_ids)} diff IDs"
    for layer, diff_id in zip(manifest.layers, diff_ids, strict=False):
        yield from _layer(layer, diff_id, fetch, decompress, check_toc)


def _is_image(manifest: Manifest) -> bool:
    return manifest.config.media_type.endswith((".image.config.v1+json", ".image.v1+json"))


def _layer(
    layer: Descriptor,
    diff_id: DiffID,
    fetch: Fetch,
    decompress: Decompress,
    check_toc: CheckToc | None,
) -> Iterator[str]:
    try:
        actual = _diff_id(layer, fetch, decompress)
        toc_digest = layer.annotations.get(TOC_DIGEST)
        if check_toc and toc_digest:
            check_toc(layer, toc_digest)
    except IntegrityError as error:
        yield error.message
        return
    if actual != diff_id:
        yield f"layer {layer.digest} has the diff ID {actual}, its config says {diff_id}"


def _diff_id(layer: Descriptor, fetch: Fetch, decompress: Decompress) -> DiffID:
    """The diff ID, from one pass over the blob, whose own digest is checked on the way."""
    found = hashlib.sha256()
    with closing(VerifiedReader(fetch(layer), layer)) as raw:
        plain = decompress(raw, layer.media_type)  # type: ignore[arg-type] # RawIOBase reads like it
        for piece in iter(lambda: plain.read(_PIECE), b""):
            found.update(piece)
        raw.readall()
    return DiffID("sha256:" + found.hexdigest())
