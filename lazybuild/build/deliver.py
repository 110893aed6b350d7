"""Hands the image to whoever asked for it: the store by name, and each output."""

from collections.abc import Sequence
from dataclasses import dataclass

from lazybuild.build.ready import Ready, push_names
from lazybuild.build.space import Space
from lazybuild.errors import UsageError
from lazybuild.exporters import attestation
from lazybuild.oci import codec, reference
from lazybuild.oci.descriptor import Descriptor
from lazybuild.request import BuildRequest

ONE = ("docker", "load")


def check_outputs(request: BuildRequest) -> None:
    """What can hold one image is not given several, and that is said before a build."""
    for output in request.outputs if len(request.platforms) > 1 else ():
        if output.type in ONE:
            raise UsageError(
                f"--output type={output.type} holds an image for one platform",
                hint="type=oci and --push take several",
            )


def check_pushes(space: Space, request: BuildRequest) -> None:
    """Ask for the right to push before the build: it would be a pity after a long one."""
    tags = [reference.parse(tag) for tag in request.tags]
    names = [name.name for output in request.outputs for name in push_names(output, tags)]
    if names:
        from lazybuild.registry import push  # noqa: PLC0415 - the registry client

        for repository in dict.fromkeys(names):
            push.check_push(space.registry(), repository)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What the names stand for now: the one image, or the index over all that there is."""

    descriptor: Descriptor
    names: tuple[str, ...]


def deliver(
    space: Space, request: BuildRequest, images: Sequence[Ready], *, named: bool = True
) -> Delivered:
    """Do every output, of the images for all platforms together. `named` False leaves the names of
    the store alone.
    """
    names = [reference.parse(tag) for tag in request.tags]
    index = _index(space, images)
    top = codec.describe(codec.parse_index(index)) if index else images[0].built.descriptor
    for name in names if named else ():
        space.store.tag(str(name), top)
    wanted = [output for output in request.outputs if output.type != "image"]
    if wanted:
        from lazybuild.build import outputs  # noqa: PLC0415 - the store alone needs none of it

        for output in wanted:
            outputs.write(space, output, images, index, names)
    return Delivered(descriptor=top, names=tuple(name.familiar for name in names))


def _index(space: Space, images: Sequence[Ready]) -> bytes:
    """Over several images, or one and what is stated of it; empty where one manifest is all."""
    stated = [image.stated for image in images if image.stated]
    if len(images) == 1 and not stated:
        return b""
    listed = [(image.built.descriptor, image.platform) for image in images]
    data = codec.encode(attestation.index(listed, stated))
    space.store.blobs.put(data)
    return data
