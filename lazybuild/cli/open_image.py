"""What the verbs that mount an image have in common: their flags, and the way to the image."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from lazybuild.build import shelf
from lazybuild.build.library import Library
from lazybuild.build.shelf import Shelf
from lazybuild.build.space import Space
from lazybuild.cli import config
from lazybuild.cli.open_space import open_space


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    decorators = (
        config.platform_option,
        click.option("--isolation", default="", metavar="TIER", help="Force a tier (T1, T2, ...)."),
        click.option(
            "--allow-unverified", is_flag=True, help="Read lazily what nobody vouches for."
        ),
        click.option("-D", "--debug", is_flag=True, help="Say how the layers are read."),
        config.registry_options,
        config.root_option,
    )
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


@contextmanager
def entered(values: dict[str, Any]) -> Iterator[Space]:
    """A space whose namespaces are entered. Takes the registry flags out of the values."""
    registries = config.registries(values)
    with open_space(
        values["root"], registries, isolation=values["isolation"], verbose=values["debug"]
    ) as space:
        space.enter()
        yield space


def taken(space: Space, name: str, values: dict[str, Any], *, pull: bool = False) -> Shelf:
    library = Library(space, pull=pull)
    image = library.image(library.find(name), values["wanted"])
    return shelf.take(space, image, allow_unverified=values["allow_unverified"])
