"""`lazybuild pull`: an image into the store, its layers left where they are unless asked for."""

from typing import Any

import click

from lazybuild.build import transfer
from lazybuild.build.library import Library
from lazybuild.cli import config
from lazybuild.cli.open_space import open_space
from lazybuild.cli.summary import megabytes
from lazybuild.oci.platform import Platform
from lazybuild.sources.images import Image


@click.command("pull", context_settings=config.CONTEXT)
@click.argument("name")
@click.option("--whole", is_flag=True, help="Download the layers, too.")
@config.platform_option
@click.option("-q", "--quiet", is_flag=True, help="Print the digest only.")
@config.registry_options
@config.root_option
def command(
    name: str,
    *,
    whole: bool,
    wanted: Platform | None,
    quiet: bool,
    root: str,
    **values: Any,  # noqa: ANN401 - click gives them by name
) -> None:
    """Pull NAME into the store: manifest and config; layers are read lazily when they are used."""
    with open_space(root, config.registries(values), verbose=not quiet) as space:
        found = Library(space, pull=True).find(name)
        image = transfer.pull(space, found, wanted, whole=whole)
    digest = image.descriptor.digest
    click.echo(digest if quiet else f"{found.reference.familiar}  {digest}  {layers(image, whole)}")


def layers(image: Image, whole: bool) -> str:  # noqa: FBT001 - what the flag says
    size = sum(layer.size for layer in image.manifest.layers)
    count = len(image.manifest.layers)
    where = "downloaded" if whole else "left at the registry"
    return f"{count} layer{'s' if count != 1 else ''} {megabytes(size)}, {where}"
