"""`lazybuild inspect`: what an image is made of and how each of its layers would be read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from lazybuild.build import inspection
from lazybuild.build.inspection import LayerView
from lazybuild.build.journal import Journal
from lazybuild.build.library import Found, Library
from lazybuild.build.space import Space
from lazybuild.cli import config
from lazybuild.cli.open_space import open_space
from lazybuild.cli.progress.escape import plain_text
from lazybuild.cli.report.page import report
from lazybuild.cli.report.parts import shown_time
from lazybuild.cli.summary import megabytes
from lazybuild.oci import codec, platform
from lazybuild.oci.image import Index
from lazybuild.snapshots.lazyfs.plan import prefetch_end
from lazybuild.sources.images import Image

SHOWN_FILES = 10


@click.command("inspect", context_settings=config.CONTEXT)
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with all prefetched files.")
@click.option(
    "--html",
    default="",
    metavar="FILE",
    help="As a page with pictures of the last build's fetches.",
)
@click.option("--toc", is_flag=True, help="The tables of contents, a JSON line for each file.")
@click.option("--raw", is_flag=True, help="The bytes of the manifest or index.")
@config.platform_option
@config.registry_options
@config.root_option
def command(
    name: str,
    *,
    as_json: bool,
    html: str,
    toc: bool,
    raw: bool,
    wanted: platform.Platform | None,
    root: str,
    **values: Any,  # noqa: ANN401 - click gives them by name
) -> None:
    """Show the image NAME of the store or, when it is not there, of its registry.

    oci-layout:DIR, oci-archive:FILE and docker-archive:FILE name images on this machine.

    Of a layer only the table of contents is read.
    """
    with open_space(root, config.registries(values)) as space:
        found = Library(space).find(name)
        if raw:
            click.echo(Library(space).raw(found.reference.name, found.descriptor.digest), nl=False)
            return
        image = Library(space).image(found, wanted)
        layers = inspection.layers(space, image)
        if html:
            write_report(html, report(found, image, layers))
        elif toc:
            for line in toc_lines(layers):
                click.echo(line)
        elif as_json:
            click.echo(json.dumps(document(space, found, image, layers), indent=2))
        else:
            click.echo("\n".join(text(found, image, layers)))


def document(
    space: Space, found: Found, image: Image, layers: list[LayerView]
) -> dict[str, object]:
    data = Library(space).raw(found.reference.name, found.descriptor.digest)
    top = codec.parse_document(data)
    return {
        "name": found.file or found.reference.familiar,
        "stored": found.stored and not found.file,
        "digest": image.descriptor.digest,
        "platforms": platforms(top) if isinstance(top, Index) else [platform_of(image)],
        "manifest": json.loads(codec.encode(image.manifest)),
        "config": json.loads(codec.encode(image.config)),
        "layers": [layer_document(layer) for layer in layers],
    }


def layer_document(layer: LayerView) -> dict[str, object]:
    return {
        "digest": layer.descriptor.digest,
        "mediaType": layer.descriptor.media_type,
        "size": layer.descriptor.size,
        "diffID": layer.diff_id,
        "mode": layer.mode,
        "format": layer.format,
        "reason": layer.reason,
        "origins": list(layer.origins),
        "tocDigest": layer.toc_digest,
        "files": layer.files,
        "prefetch": {
            "landmark": layer.landmark,
            "end": prefetch_end(layer.landmark, layer.descriptor.size),
            "files": list(layer.prefetch),
        },
        "lastBuild": build_document(layer.journal) if layer.journal else None,
    }


def build_document(journal: Journal) -> dict[str, object]:
    return {
        "began": shown_time(journal.began),
        "seconds": journal.seconds,
        "mode": journal.layer.mode,
        "reason": journal.layer.reason,
        "requests": journal.layer.requests,
        "bytesFetched": journal.layer.bytes_fetched,
        "bytesRead": journal.layer.bytes_read,
    }


def write_report(path: str, page: str) -> None:
    if path == "-":
        click.echo(page, nl=False)
    else:
        Path(path).write_text(page, encoding="utf-8")


def platforms(index: Index) -> list[str]:
    return [str(platform.from_json(item.platform or {})) for item in index.manifests]


def platform_of(image: Image) -> str:
    config_ = image.config
    return "/".join(part for part in (config_.os, config_.architecture, config_.variant) if part)


def where(found: Found) -> str:
    if found.file:
        return "on this machine"
    return "in the store" if found.stored else "at the registry"


def text(found: Found, image: Image, layers: list[LayerView]) -> Iterator[str]:
    """The lines that people read. What the image says of itself is a stranger's text."""
    container = image.config.config
    yield f"Name:        {plain_text(found.file) or found.reference.familiar}"
    yield f"Where:       {where(found)}"
    yield f"Digest:      {image.descriptor.digest}"
    yield f"Platform:    {plain_text(platform_of(image))}"
    yield f"Created:     {plain_text(image.config.created)}"
    said = {
        "Entrypoint": json.dumps(container.entrypoint) if container.entrypoint else "",
        "Cmd": json.dumps(container.cmd) if container.cmd else "",
        "User": container.user,
        "Workdir": container.working_dir,
    }
    for label, value in said.items():
        if value:
            yield f"{label + ':':<12} {plain_text(value)}"
    for item in container.env:
        yield f"Env:         {plain_text(item)}"
    for number, layer in enumerate(layers, 1):
        yield from layer_text(number, layer)


def layer_text(number: int, layer: LayerView) -> Iterator[str]:
    reason = f": {plain_text(layer.reason)}" if layer.reason else ""
    size = megabytes(layer.descriptor.size)
    yield f"Layer {number}:     {layer.descriptor.digest}  {size}  {layer.mode}{reason}"
    yield f"  type       {plain_text(layer.descriptor.media_type)}"
    yield f"  format     {layer.format}"
    yield f"  diff ID    {layer.diff_id}"
    if layer.toc_digest:
        yield f"  TOC        {plain_text(layer.toc_digest)}  {layer.files} entries"
    if layer.prefetch:
        end = prefetch_end(layer.landmark, layer.descriptor.size)
        cut = f", cut to {megabytes(end)}" if end < layer.landmark else ""
        first = megabytes(layer.landmark)
        yield f"  prefetch   {len(layer.prefetch)} files in the first {first}{cut}"
        for path in layer.prefetch[:SHOWN_FILES]:
            yield f"    {plain_text(path)}"
        more = len(layer.prefetch) - SHOWN_FILES
        if more > 0:
            yield f"    and {more} more (--json)"
    if layer.journal is not None:
        yield f"  last build {last_build(layer.journal)}"


def last_build(journal: Journal) -> str:
    layer = journal.layer
    fetched = f"{megabytes(layer.bytes_fetched)} in {layer.requests} requests"
    return f"{fetched}, read {layer.mode}, {shown_time(journal.began)}"


def toc_lines(layers: list[LayerView]) -> Iterator[str]:
    for layer in layers:
        if layer.toc is None:
            continue
        for path, entry in zip(layer.toc.paths, layer.toc.entries, strict=True):
            line: dict[str, object] = {
                "layer": layer.descriptor.digest,
                "path": path,
                "type": entry.type,
                "mode": f"{entry.mode & 0o7777:04o}",
                "uid": entry.uid,
                "gid": entry.gid,
                "size": entry.size,
                "offset": entry.offset,
                "prefetch": inspection.is_prefetched(layer.toc, path, entry),
            }
            if entry.link_name:
                line["link"] = entry.link_name
            yield json.dumps(line)
