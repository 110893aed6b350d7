"""Hands the image to whoever asked for it: the store by name, and each output."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from lazybuild.build.attest import Attested
from lazybuild.build.collect import task
from lazybuild.build.finish import Built
from lazybuild.build.space import Space
from lazybuild.errors import UsageError
from lazybuild.events import Transfer, Warned
from lazybuild.exporters import docker, load, local, oci, rootfs
from lazybuild.exporters.base import ExportedImage, ImageBlob
from lazybuild.exporters.destination import destination
from lazybuild.oci import codec, reference
from lazybuild.oci.descriptor import OCI_INDEX, OCI_MANIFEST, Descriptor
from lazybuild.oci.reference import Reference
from lazybuild.registry import push
from lazybuild.registry.push import Blob, ManifestToPush
from lazybuild.registry.upload import Source
from lazybuild.request import BuildRequest, Output
from lazybuild.snapshots.tree import Tree


def push_names(output: Output, tags: Sequence[Reference]) -> Sequence[Reference]:
    """Where an output pushes to: the names it has itself, else the image's."""
    if output.type != "registry":
        return ()
    own = [text for text in output.options.get("name", "").split(",") if text]
    names = [reference.parse(text) for text in own] or tags
    if not names:
        raise UsageError("--push needs a name", hint="give one with -t")
    return names


def check_pushes(space: Space, request: BuildRequest) -> None:
    """Ask for the right to push before the build: it would be a pity after a long one."""
    tags = [reference.parse(tag) for tag in request.tags]
    names = [name.name for output in request.outputs for name in push_names(output, tags)]
    for repository in dict.fromkeys(names):
        push.check_push(space.registry(), repository)


def deliver(
    space: Space,
    request: BuildRequest,
    built: Built,
    tree: Tree,
    epoch: int | None,
    *,
    stated: Attested | None = None,
) -> tuple[str, ...]:
    """Do every output; the names that the image has now. `tree` is the files of the image."""
    names = [reference.parse(tag) for tag in request.tags]
    for name in names:
        space.store.tag(str(name), stated.descriptor if stated else built.descriptor)
    for output in request.outputs:
        if output.type in ("local", "tar"):
            _files(space, tree, output, epoch)
        else:
            _image(space, built, output, names, stated)
    return tuple(name.familiar for name in names)


def _image(
    space: Space,
    built: Built,
    output: Output,
    names: Sequence[Reference],
    stated: Attested | None,
) -> None:
    if output.type == "registry":
        by_digest = output.options.get("push-by-digest") == "true"
        targets = [replace(n, tag="") if by_digest else n for n in push_names(output, names)]
        push_image(space, built, targets, stated)
    elif output.type != "image":
        with task(space.sink, f"exporting to {output.type} {output.dest}".rstrip()):
            _archive(
                exported(space, built, names, stated if output.type == "oci" else None), output
            )


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


def _files(space: Space, tree: Tree, output: Output, epoch: int | None) -> None:
    if output.options.get("mode", "copy") != "copy":
        raise UsageError(f"--output mode={output.options['mode']} is not supported")
    with task(space.sink, f"exporting files to {output.dest}"):
        if output.type == "tar":
            with destination(output.dest) as out:
                rootfs.export(tree, out, epoch=epoch)
            return
        skipped = local.export(tree, Path(output.dest), epoch=epoch)
    if skipped:
        message = f"{len(skipped)} device nodes were not written to {output.dest}"
        space.sink(Warned(message=message, detail=skipped[:10]))


def exported(
    space: Space, built: Built, names: Sequence[Reference], stated: Attested | None = None
) -> ExportedImage:
    pairs = zip(built.layers, built.manifest.layers, strict=True)
    return ExportedImage(
        manifest=codec.encode(built.manifest),
        media_type=built.descriptor.media_type,
        config=codec.encode(built.config),
        layers=tuple(
            ImageBlob(descriptor=descriptor, open=partial(space.blob_stream, layer))
            for layer, descriptor in pairs
        ),
        names=tuple(names),
        index=stated.index if stated else b"",
        attached=stated.blobs() if stated else {},
    )


def push_image(
    space: Space, built: Built, names: Sequence[Reference], stated: Attested | None = None
) -> None:
    for name in names:
        title = f"pushing {name.familiar}"
        with task(space.sink, title):
            tags = (name.tag,) if name.tag else ()
            told = partial(_tell, space, title)
            blobs, manifests = [*blobs_of(space, built)], manifests_of(built, stated, tags)
            if stated is not None:
                blobs += [
                    Blob(descriptor=d, source=push.from_bytes(data))
                    for d, data in stated.attestation.blobs
                ]
            push.push(space.registry(), name.name, blobs, manifests, progress=told)
            _remember(space, built, name.name)


def manifests_of(
    built: Built, stated: Attested | None, tags: tuple[str, ...]
) -> list[ManifestToPush]:
    """Children first; the tag is on the last."""
    image = ManifestToPush(
        data=codec.encode(built.manifest),
        media_type=built.descriptor.media_type,
        tags=() if stated else tags,
    )
    if stated is None:
        return [image]
    return [
        image,
        ManifestToPush(data=stated.attestation.manifest, media_type=OCI_MANIFEST),
        ManifestToPush(data=stated.index, media_type=OCI_INDEX, tags=tags),
    ]


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
    return push.from_place(blobs.place(descriptor.digest)) if blobs.has(descriptor.digest) else None
