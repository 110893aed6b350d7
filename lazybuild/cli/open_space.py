"""Opens the store, and all that goes with it, for a verb that is not a build.

Loaded by the verbs when they run, never for --help.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

from lazybuild.build.space import Space
from lazybuild.cli import config, stopping
from lazybuild.errors import HostError
from lazybuild.events import Event, Noted, Warned
from lazybuild.executor import ladder
from lazybuild.registry.config import RegistryConfig
from lazybuild.store import Store


@contextmanager
def open_space(
    root: str,
    registries: RegistryConfig | None = None,
    *,
    isolation: str = "",
    verbose: bool = False,
) -> Iterator[Space]:
    """A space that prints warnings (and notes, when `verbose`) and whose stop event signals set."""
    stop = threading.Event()

    def sink(event: Event) -> None:
        if isinstance(event, Warned):
            click.echo(f"WARNING: {event.message}", file=sys.stderr)
        elif isinstance(event, Noted) and verbose:
            click.echo(event.message, file=sys.stderr)

    with (
        stopping.armed(stop),
        Space(
            root=config.store_root(root),
            config=registries or RegistryConfig(),
            sink=sink,
            stop=stop,
            isolation=isolation,
        ) as space,
    ):
        yield space


@contextmanager
def open_store_inside(root: str) -> Iterator[Store]:
    """The store, seen from a user namespace: the files of layers belong to ids that only it has.

    On a host without one the store is opened all the same, and a warning says so.
    """
    with Store(config.store_root(root)) as store:
        try:
            host = ladder.probe(store.root)
            ladder.enter(host)
        except HostError as error:
            click.echo(f"WARNING: files of layers may be out of reach: {error.message}", err=True)
        yield store
