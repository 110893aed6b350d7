"""`lazybuild push`: an image of the store, or of another registry, into a registry."""

from collections import Counter
from typing import Any

import click

from lazybuild.build import transfer
from lazybuild.build.library import Library
from lazybuild.cli import config
from lazybuild.cli.open_space import open_space
from lazybuild.cli.summary import megabytes
from lazybuild.oci import reference
from lazybuild.registry.push import Pushed


@click.command("push", context_settings=config.CONTEXT)
@click.argument("name")
@click.argument("dest", default="", metavar="[DEST]")
@click.option("-q", "--quiet", is_flag=True, help="Print the digest only.")
@config.registry_options
@config.root_option
def command(name: str, dest: str, *, quiet: bool, root: str, **values: Any) -> None:  # noqa: ANN401 - click gives them by name
    """Push NAME to its registry, or to DEST.

    Layers that were never downloaded are mounted from their repository when it is at the same
    registry, and streamed from there when it is not. NAME may be an image that only a registry has.
    """
    with open_space(root, config.registries(values), verbose=not quiet) as space:
        found = Library(space).find(name)
        target = reference.parse(dest) if dest else found.reference
        pushed = transfer.push(space, found, target)
    digest = pushed.descriptor.digest
    click.echo(digest if quiet else f"{target.familiar}  {digest}  {ways(pushed)}")


def ways(pushed: Pushed) -> str:
    """`3 uploaded, 1 mounted  12 MB sent`."""
    counts = Counter(way.value for way in pushed.ways.values())
    parts = ", ".join(f"{count} {way}" for way, count in sorted(counts.items()))
    return f"{parts}  {megabytes(pushed.sent)} sent"
