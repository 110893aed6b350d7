"""Hands the image to whoever asked for it: the store by name, and each output."""

from collections.abc import Sequence

from lazybuild.build.collect import task
from lazybuild.build.finish import Built
from lazybuild.build.space import Space
from lazybuild.errors import UsageError
from lazybuild.oci import codec, reference
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.reference import Reference
from lazybuild.registry import push
from lazybuild.registry.push import Blob, ManifestToPush
from lazybuild.registry.upload import Source
from lazybuild.request import BuildRequest, Output


def deliver(space: Space, request: BuildRequest, built: Built) -> tuple[str, ...]:
    """Do every output; the names that the image has now."""
    names = [reference.parse(tag) for tag in request.tags]
    for name in names:
        space.store.tag(str(name), built.descriptor)
    for output in request.outputs:
        _one(space, built, output, names)
    return tuple(name.familiar for name in names)


def _one(space: Space, built: Built, output: Output, names: Sequence[Reference]) -> None:
    if output.type == "registry":
        extra = [
            reference.parse(text) for text in output.options.get("name", "").split(",") if text
        ]
        push_image(space, built, extra or names)
    elif output.type != "image":
        raise UsageError(f"output {output.type} is not supported yet")


def push_image(space: Space, built: Built, names: Sequence[Reference]) -> None:
    if not names:
        raise UsageError("--push needs a name", hint="give one with -t")
    for name in names:
        with task(space.sink, f"pushing {name.familiar}"):
            manifest = ManifestToPush(
                data=codec.encode(built.manifest),
                media_type=built.descriptor.media_type,
                tags=(name.tag,) if name.tag else (),
            )
            push.push(space.registry(), name.name, blobs_of(space, built), [manifest])


def blobs_of(space: Space, built: Built) -> list[Blob]:
    """Config and layers; a base layer that was never fetched is known by its origins."""
    config = built.manifest.config
    pairs = zip(built.layers, built.manifest.layers, strict=True)
    return [
        Blob(descriptor=config, source=_source(space, config)),
        *(
            Blob(descriptor=descriptor, source=_source(space, descriptor), origins=layer.origins)
            for layer, descriptor in pairs
        ),
    ]


def _source(space: Space, descriptor: Descriptor) -> Source | None:
    blobs = space.store.blobs
    return push.from_file(blobs.path(descriptor.digest)) if blobs.has(descriptor.digest) else None
