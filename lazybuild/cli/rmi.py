"""`lazybuild rmi`: takes names away; `prune` takes what no name holds."""

import click

from lazybuild.build.library import Library
from lazybuild.cli import config
from lazybuild.cli.open_space import open_space
from lazybuild.oci import reference


@click.command("rmi", context_settings=config.CONTEXT)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("-f", "--force", is_flag=True, help="No error for a name that is not there.")
@config.root_option
def command(names: tuple[str, ...], *, force: bool, root: str) -> None:
    """Remove images' names from the store; a digest removes all names of its image."""
    with open_space(root) as space:
        library = Library(space)
        for text in names:
            found = library.stored(text) if force else library.named(text)
            if found is None:
                continue
            named = str(reference.parse(text)) if not library.is_id(text) else ""
            for name, (descriptor, _) in space.store.meta.images().items():
                if name == named or (not named and descriptor.digest == found.descriptor.digest):
                    space.store.untag(name)
                    click.echo(f"untagged {reference.parse(name).familiar}")
