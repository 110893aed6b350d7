"""`lazybuild tag`: another name for an image of the store."""

import click

from lazybuild.build.library import Library
from lazybuild.cli import config
from lazybuild.cli.open_space import open_space
from lazybuild.errors import UsageError
from lazybuild.oci import reference


@click.command("tag", context_settings=config.CONTEXT)
@click.argument("image")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@config.root_option
def command(image: str, names: tuple[str, ...], root: str) -> None:
    """Give IMAGE, a name or a digest in the store, other names."""
    wanted = [reference.parse(name) for name in names]
    if any(ref.digest for ref in wanted):
        raise UsageError("a new name can't have a digest")
    with open_space(root) as space:
        found = Library(space).named(image)
        for ref in wanted:
            space.store.tag(str(ref), found.descriptor)
