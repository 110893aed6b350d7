"""Whole images between the store and registries, outside of a build."""

from collections.abc import Mapping

from lazybuild.build.library import Found, Library
from lazybuild.build.space import Space
from lazybuild.events import Transfer
from lazybuild.oci import codec
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.oci.image import Manifest
from lazybuild.oci.platform import Platform
from lazybuild.oci.reference import Reference
from lazybuild.registry import push as pushing
from lazybuild.registry.push import Blob, ManifestToPush, Pushed
from lazybuild.registry.upload import Source
from lazybuild.sources.images import Image


def push(space: Space, found: Found, target: Reference) -> Pushed:
    """All of an image to `target`. What is not in the store is mounted there or streamed there."""
    library = Library(space)
    blobs: dict[Digest, Blob] = {}
    manifests = []
    for descriptor, data in library.manifests(found):
        document = codec.parse_document(data)
        if isinstance(document, Manifest):
            blobs |= _blobs(space, library, found.reference.name, document)
        manifests.append(ManifestToPush(data=data, media_type=descriptor.media_type))
    top = manifests[-1]
    tags = (target.tag,) if target.tag else ()
    manifests[-1] = ManifestToPush(data=top.data, media_type=top.media_type, tags=tags)
    return pushing.push(
        space.registry(),
        target.name,
        list(blobs.values()),
        manifests,
        progress=lambda blob, sent: space.sink(transferred(f"pushing {target}", blob, sent)),
    )


def pull(space: Space, found: Found, want: Platform | None, *, whole: bool) -> Image:
    """Manifest and config into the store, layers as they are: at the registry, unless `whole`."""
    library = Library(space)
    image = library.image(found, want)
    library.snapshot(image)
    if whole:
        for descriptor in image.manifest.layers:
            fetch(space, found.reference.name, descriptor)
    if found.reference.tag:
        name = Reference(
            registry=found.reference.registry,
            repository=found.reference.repository,
            tag=found.reference.tag,
        )
        space.store.tag(str(name), image.descriptor)
    return image


def fetch(space: Space, name: str, descriptor: Descriptor) -> None:
    """A blob into the store, once for all processes that want it."""
    blobs = space.store.blobs
    with blobs.flight(descriptor.digest):
        if blobs.has(descriptor.digest):
            return
        with blobs.ingest() as ingest:
            for block in space.registry().blob(name, descriptor):
                ingest.write(block)
                space.sink(transferred(f"pulling {name}", descriptor, ingest.size))
            ingest.commit(descriptor.digest)


def transferred(what: str, descriptor: Descriptor, count: int) -> Transfer:
    return Transfer(
        vertex=what,
        id=descriptor.digest,
        current=count,
        total=descriptor.size,
        done=count >= descriptor.size,
    )


def source(space: Space, descriptor: Descriptor) -> Source | None:
    """A blob of the store to push from; None when it is not here."""
    blobs = space.store.blobs
    if not blobs.has(descriptor.digest):
        return None
    return pushing.from_place(blobs.place(descriptor.digest))


def _blobs(space: Space, library: Library, name: str, manifest: Manifest) -> Mapping[Digest, Blob]:
    config = manifest.config
    found = {config.digest: Blob(descriptor=config, source=source(space, config), origins=(name,))}
    for layer, descriptor in zip(
        library.layers(name, manifest.layers), manifest.layers, strict=True
    ):
        found[descriptor.digest] = Blob(
            descriptor=descriptor, source=source(space, descriptor), origins=layer.origins
        )
    return found
