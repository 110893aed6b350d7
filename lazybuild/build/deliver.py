"""Hands the image to whoever asked for it: the store by name, and each output."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lazybuild.build.collect import task
from lazybuild.build.finish import Built
from lazybuild.build.space import Space
from lazybuild.errors import UsageError
from lazybuild.events import Transfer, Warned
from lazybuild.exporters import attestation, docker, load, local, oci, rootfs
from lazybuild.exporters.attestation import Attestation
from lazybuild.exporters.base import ExportedImage, ImageBlob
from lazybuild.exporters.destination import destination
from lazybuild.oci import codec, reference
from lazybuild.oci import platform as oci_platform
from lazybuild.oci.descriptor import OCI_INDEX, OCI_MANIFEST, Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.oci.reference import Reference
from lazybuild.registry import push
from lazybuild.registry.push import Blob, ManifestToPush
from lazybuild.registry.upload import Source
from lazybuild.request import BuildRequest, Output
from lazybuild.snapshots.tree import Tree

FILES = ("local", "tar")
ONE = ("docker", "load")


def push_names(output: Output, tags: Sequence[Reference]) -> Sequence[Reference]:
    """Where an output pushes to: the names it has itself, else the image's."""
    if output.type != "registry":
        return ()
    own = [text for text in output.options.get("name", "").split(",") if text]
    names = [reference.parse(text) for text in own] or tags
    if not names:
        raise UsageError("--push needs a name", hint="give one with -t")
    return names


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
    for repository in dict.fromkeys(names):
        push.check_push(space.registry(), repository)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """An image for one platform, its files where an output wants them, what is stated of it."""

    built: Built
    platform: Mapping[str, object]
    tree: Tree
    epoch: int | None = None
    stated: Attestation | None = None

    @property
    def folder(self) -> str:
        """Where its files go beside those for other platforms."""
        return str(oci_platform.from_json(self.platform)).replace("/", "_")


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
    for output in request.outputs:
        if output.type in FILES:
            _files(space, images, output)
        elif output.type == "registry":
            _push(space, images, index, _targets(output, names))
        elif output.type != "image":
            with task(space.sink, f"exporting to {output.type} {output.dest}".rstrip()):
                _archive(exported(space, images, index, names), output)
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


def _targets(output: Output, names: Sequence[Reference]) -> list[Reference]:
    by_digest = output.options.get("push-by-digest") == "true"
    return [replace(n, tag="") if by_digest else n for n in push_names(output, names)]


def _archive(image: ExportedImage, output: Output) -> None:
    if output.type == "load":
        load.export(image)
    elif output.options.get("tar") == "false":
        if output.type != "oci":
            raise UsageError(f"--output type={output.type} has no tar=false")
        oci.export_directory(image, Path(output.dest))
    else:
        with destination(output.dest) as out:
            (oci if output.type == "oci" else docker).export(image, out)


def _files(space: Space, images: Sequence[Ready], output: Output) -> None:
    """The files of one image as they are, those of several in a directory for each platform."""
    if output.options.get("mode", "copy") != "copy":
        raise UsageError(f"--output mode={output.options['mode']} is not supported")
    several, epoch = len(images) > 1, images[0].epoch
    trees = {image.folder if several else "": image.tree for image in images}
    with task(space.sink, f"exporting files to {output.dest}"):
        if output.type == "tar":
            with destination(output.dest) as out:
                rootfs.export_each(trees, out, epoch=epoch)
            return
        skipped = [
            name
            for folder, tree in trees.items()
            for name in local.export(tree, Path(output.dest) / folder, epoch=epoch)
        ]
    if skipped:
        message = f"{len(skipped)} device nodes were not written to {output.dest}"
        space.sink(Warned(message=message, detail=tuple(skipped[:10])))


def exported(
    space: Space, images: Sequence[Ready], index: bytes, names: Sequence[Reference]
) -> ExportedImage:
    first, *others = (_exported(space, image.built) for image in images)
    return replace(
        first, names=tuple(names), index=index, attached=_attached(images), others=tuple(others)
    )


def _exported(space: Space, built: Built) -> ExportedImage:
    pairs = zip(built.layers, built.manifest.layers, strict=True)
    return ExportedImage(
        manifest=codec.encode(built.manifest),
        media_type=built.descriptor.media_type,
        config=codec.encode(built.config),
        layers=tuple(
            ImageBlob(descriptor=descriptor, open=partial(space.blob_stream, layer))
            for layer, descriptor in pairs
        ),
    )


def _attached(images: Sequence[Ready]) -> Mapping[Digest, bytes]:
    """The blobs of all statements, and their manifests."""
    found: dict[Digest, bytes] = {}
    for stated in (image.stated for image in images if image.stated):
        found |= {descriptor.digest: data for descriptor, data in stated.blobs}
        found[stated.descriptor.digest] = stated.manifest
    return found


def _push(space: Space, images: Sequence[Ready], index: bytes, names: Sequence[Reference]) -> None:
    for name in names:
        title = f"pushing {name.familiar}"
        with task(space.sink, title):
            tags = (name.tag,) if name.tag else ()
            told = partial(_tell, space, title)
            blobs = {
                blob.descriptor.digest: blob
                for image in images
                for blob in (*_blobs(space, image.built), *_statements(image))
            }
            manifests = _manifests(images, index, tags)
            push.push(space.registry(), name.name, list(blobs.values()), manifests, progress=told)
            for image in images:
                _remember(space, image.built, name.name)


def _statements(image: Ready) -> Iterator[Blob]:
    for descriptor, data in image.stated.blobs if image.stated else ():
        yield Blob(descriptor=descriptor, source=push.from_bytes(data))


def _manifests(
    images: Sequence[Ready], index: bytes, tags: tuple[str, ...]
) -> list[ManifestToPush]:
    """Children first; the tag is on the last."""
    found = [
        ManifestToPush(
            data=codec.encode(image.built.manifest),
            media_type=image.built.descriptor.media_type,
            tags=() if index else tags,
        )
        for image in images
    ]
    found += [
        ManifestToPush(data=image.stated.manifest, media_type=OCI_MANIFEST)
        for image in images
        if image.stated
    ]
    if index:
        found.append(ManifestToPush(data=index, media_type=OCI_INDEX, tags=tags))
    return found


def _remember(space: Space, built: Built, repository: str) -> None:
    """The layers can be had, and mounted into other repositories, from there from now on."""
    for made in built.layers:
        layer = space.store.meta.layer(made.id)
        if layer is not None and repository not in layer.origins:
            space.store.meta.put_layer(replace(layer, origins=(*layer.origins, repository)))


def _tell(space: Space, title: str, descriptor: Descriptor, sent: int) -> None:
    done = sent >= descriptor.size
    name = descriptor.digest[:19]
    space.sink(Transfer(vertex=title, id=name, current=sent, total=descriptor.size, done=done))


def _blobs(space: Space, built: Built) -> list[Blob]:
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
    return push.from_place(blobs.place(descriptor.digest)) if blobs.has(descriptor.digest) else None
