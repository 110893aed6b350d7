"""`lazybuild manifest`: one name for images of several platforms, built on a machine each."""

from typing import Any

import click

from lazybuild.build import indexes, transfer
from lazybuild.build.library import Library
from lazybuild.cli import config
from lazybuild.cli.open_space import open_space
from lazybuild.oci import platform, reference


@click.group("manifest", context_settings=config.CONTEXT)
def command() -> None:
    """Make and push images for several platforms."""


@command.command("create", context_settings=config.CONTEXT)
@click.argument("name")
@click.argument("refs", nargs=-1, required=True, metavar="REF...")
@click.option("-a", "--amend", is_flag=True, help="Add to the list, or replace what it has.")
@config.registry_options
@config.root_option
def create(name: str, refs: tuple[str, ...], *, amend: bool, root: str, **values: Any) -> None:  # noqa: ANN401 - click gives them by name
    """Let NAME stand for the images REF, one for each platform.

    A REF is a name, best with a digest (push with -o type=image,push-by-digest=true,push=true), or
    an image of the store. No layer is fetched.
    """
    with open_space(root, config.registries(values)) as space:
        index = indexes.create(space, reference.parse(name), refs, amend=amend)
    for item in index.manifests:
        click.echo(f"{platform.from_json(item.platform or {})}  {item.digest}")


@command.command("push", context_settings=config.CONTEXT)
@click.argument("name")
@click.argument("dest", default="", metavar="[DEST]")
@config.registry_options
@config.root_option
def push(name: str, dest: str, *, root: str, **values: Any) -> None:  # noqa: ANN401 - click gives them by name
    """Push NAME, and every image that it lists, to its registry or to DEST."""
    with open_space(root, config.registries(values), verbose=True) as space:
        found = Library(space).named(name)
        target = reference.parse(dest) if dest else found.reference
        pushed = transfer.push(space, found, target)
    click.echo(pushed.descriptor.digest)
