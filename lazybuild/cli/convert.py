"""`lazybuild convert`: an existing image as eStargz or zstd:chunked, wanted files first."""

from dataclasses import replace
from typing import Any

import click

from lazybuild.build import convert, shelf, transfer, translate, wanted
from lazybuild.build.convert import Converted
from lazybuild.build.library import Library
from lazybuild.build.space import Space
from lazybuild.build.wanted import Record, Wanted
from lazybuild.cli import config
from lazybuild.cli.open_space import open_space
from lazybuild.cli.summary import megabytes
from lazybuild.estargz.writer import WriterOptions
from lazybuild.oci import codec, reference
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.image import Index
from lazybuild.sources.images import Image


@click.command("convert", context_settings=config.CONTEXT)
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--push", is_flag=True, help="Push DST to its registry, too.")
@click.option(
    "--compression",
    default="estargz",
    metavar="FORMAT[:LEVEL]",
    help="estargz, zstd:chunked, zstd:chunked:podman, gzip, zstd or none.",
)
@click.option("--prefetch-run", default="", metavar="CMD", help="Put first what CMD reads.")
@click.option("--prefetch-list", default="", metavar="FILE", help="Put first what patterns name.")
@click.option("--record-in", default="", metavar="FILE", help="Put first what records name.")
@click.option("--record-out", default="", metavar="FILE", help="Write what --prefetch-run reads.")
@click.option("--reuse", is_flag=True, help="Keep layers that are lazy and not reordered.")
@config.platform_option
@click.option("--all-platforms", is_flag=True, help="Every platform of SRC.")
@click.option("-q", "--quiet", is_flag=True, help="Print the digest only.")
@config.registry_options
@config.root_option
def command(source: str, target: str, **values: Any) -> None:  # noqa: ANN401 - click gives them by name
    """Write the layers of SRC anew as DST, so that DST can be mounted lazily.

    SRC is an image of the store or of a registry, or oci-layout:DIR[:TAG], oci-archive:FILE[:TAG]
    or docker-archive:FILE[:NAME]. DST is a name.
    """
    ref = reference.parse(target)
    with open_space(
        values["root"], config.registries(values), verbose=not values["quiet"]
    ) as space:
        images = sources(space, source, values)
        records: list[Record] = []
        made = [one(space, image, values, records) for image in images]
        descriptor = listed(space, images, made)
        space.store.tag(str(ref), descriptor)
        if values["record_out"]:
            wanted.write_records(values["record_out"], records)
        if values["push"]:
            transfer.push(space, Library(space).named(str(ref)), ref)
    before, after = sum(item.before for item in made), sum(item.after for item in made)
    told = f"{ref.familiar}  {descriptor.digest}  {megabytes(before)} -> {megabytes(after)}"
    click.echo(descriptor.digest if values["quiet"] else told)


def sources(space: Space, text: str, values: dict[str, Any]) -> list[Image]:
    """The images to convert, one for each platform that is wanted."""
    library = Library(space)
    found = library.find(text)
    if values["all_platforms"]:
        return list(convert.platforms(space, found))
    return [library.image(found, values["wanted"])]


def one(space: Space, image: Image, values: dict[str, Any], records: list[Record]) -> Converted:
    """Convert for one platform; what a run reads is added to `records`."""
    seen = wanted.read_records(values["record_in"]) if values["record_in"] else []
    if values["prefetch_run"]:
        space.enter()
        ran = wanted.watch_run(space, shelf.take(space, image), values["prefetch_run"])
        records += ran
        seen = [*seen, *ran]
    first = Wanted(
        named=wanted.by_layer(seen, image.descriptor.digest),
        patterns=wanted.read_list(values["prefetch_list"]) if values["prefetch_list"] else (),
    )
    kind, level = translate.compression(values["compression"])
    options = WriterOptions(compression=kind, level=level)
    return convert.convert(space, image, first, options, reuse=values["reuse"])


def listed(space: Space, images: list[Image], made: list[Converted]) -> Descriptor:
    """The manifest, or an index over the manifests of several platforms."""
    if len(made) == 1:
        return made[0].descriptor
    index = Index(
        manifests=tuple(
            replace(item.descriptor, platform=platform_of(image))
            for image, item in zip(images, made, strict=True)
        )
    )
    data = codec.encode(index)
    return Descriptor(
        media_type=index.media_type, digest=space.store.blobs.put(data), size=len(data)
    )


def platform_of(image: Image) -> dict[str, object]:
    config = image.config
    found: dict[str, object] = {"architecture": config.architecture, "os": config.os}
    return found | ({"variant": config.variant} if config.variant else {})
