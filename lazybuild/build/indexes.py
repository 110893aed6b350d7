"""An image for several platforms out of images for one each, wherever those were built.

Nothing of a layer is fetched: the index names manifests, and a push mounts or streams their blobs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lazybuild.build.library import Found, Library
from lazybuild.build.space import Space
from lazybuild.build.transfer import fetch
from lazybuild.errors import UsageError
from lazybuild.exporters.attestation import IN_TOTO
from lazybuild.oci import codec, platform
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.image import Index, Manifest
from lazybuild.oci.reference import Reference
from lazybuild.sources.images import Images

UNKNOWN = "unknown"


def create(space: Space, name: Reference, refs: Sequence[str], *, amend: bool = False) -> Index:
    """Give `name` to an index of the images; `amend` keeps what the one of that name lists."""
    library = Library(space)
    found: dict[str, Descriptor] = {}
    if amend:
        found |= {_place(item): item for item in _listed(library, library.named(str(name)))}
    for ref in refs:
        for item in _entries(space, library, library.find(ref)):
            if _place(item) in found and not amend:
                raise UsageError(f"{ref}: there is an image for {_place(item)} already")
            found[_place(item)] = item
    index = Index(manifests=tuple(found.values()))
    data = codec.encode(index)
    space.store.blobs.put(data)
    space.store.tag(str(name), codec.describe(index, data))
    return index


def _listed(library: Library, found: Found) -> Sequence[Descriptor]:
    document = library.document(found.reference.name, found.descriptor.digest)
    if not isinstance(document, Index):
        raise UsageError(f"{found.reference.familiar} is an image, not a list of images")
    return document.manifests


def _entries(space: Space, library: Library, found: Found) -> Iterator[Descriptor]:
    """What an index lists, or the one image that a name stands for. The store knows it then."""
    document = library.document(found.reference.name, found.descriptor.digest)
    if isinstance(document, Manifest):
        plain = replace(found.descriptor, media_type=document.media_type)
        yield _entry(space, library, found.reference, plain)
        return
    for item in document.manifests:
        yield _entry(space, library, found.reference, item)


def _entry(space: Space, library: Library, ref: Reference, item: Descriptor) -> Descriptor:
    document = library.document(ref.name, item.digest)
    if isinstance(document, Index):
        raise UsageError(f"{ref.familiar}: a list in a list of images")
    if any(layer.media_type == IN_TOTO for layer in document.layers):
        for blob in (document.config, *document.layers):
            fetch(space, ref.name, blob)
        return item
    image = Images(space.store, space.registry).load(replace(ref, digest=item.digest))
    library.snapshot(image)
    config = image.config
    fields = {"architecture": config.architecture, "os": config.os, "variant": config.variant}
    return replace(item, platform={key: value for key, value in fields.items() if value})


def _place(item: Descriptor) -> str:
    """What there can be one of: an image for a platform; statements are as many as there are."""
    found = str(platform.from_json(item.platform or {}))
    return item.digest if UNKNOWN in found else found
