"""Images where outputs want them: pushed, as archives, as files. Loaded when one is asked for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from lazybuild.build.collect import task
from lazybuild.build.finish import Built
from lazybuild.build.ready import Ready, push_names
from lazybuild.build.space import Space
from lazybuild.errors import UsageError
from lazybuild.events import Transfer, Warned
from lazybuild.exporters import docker, load, local, oci, rootfs
from lazybuild.exporters.base import ExportedImage, ImageBlob
from lazybuild.exporters.destination import destination
from lazybuild.oci import codec
from lazybuild.oci.descriptor import OCI_INDEX, OCI_MANIFEST, Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.oci.reference import Reference
from lazybuild.registry import push
from lazybuild.registry.push import Blob, ManifestToPush
from lazybuild.registry.upload import Source
from lazybuild.request import Output

FILES = ("local", "tar")


def write(
    space: Space,
    output: Output,
    images: Sequence[Ready],
    index: bytes,
    names: Sequence[Reference],
) -> None:
    """One output, of the images for all platforms; `index` is over them, or empty for one alone."""
    if output.type in FILES:
        _files(space, images, output)
    elif output.type == "registry":
        _push(space, images, index, _targets(output, names))
    else:
        with task(space.sink, f"exporting to {output.type} {output.dest}".rstrip()):
            _archive(exported(space, images, index, names), output)


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
