"""Opens the store, and all that goes with it, for a verb that is not a build.

Loaded by the verbs when they run, never for --help.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

from lazybuild.build.space import Space
from lazybuild.cli import config, stopping
from lazybuild.cli.progress.plain import TRANSFER_PAUSE, amounts
from lazybuild.errors import HostError
from lazybuild.events import Event, Noted, Transfer, Warned
from lazybuild.executor import ladder
from lazybuild.registry.config import RegistryConfig
from lazybuild.store import Store


class Teller:
    """Says on standard error what a verb's user should know; more of it when `verbose`."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, Warned):
            click.echo(f"WARNING: {event.message}", err=True)
        elif isinstance(event, Noted) and self._verbose:
            click.echo(event.message, err=True)
        elif isinstance(event, Transfer) and self._verbose and self._is_due(event):
            click.echo(f"{event.vertex}  {event.id[:19]} {amounts(event)}", err=True)

    def _is_due(self, event: Transfer) -> bool:
        """Transfers are told of every few seconds, not counted from their beginning."""
        with self._lock:
            last = self._told.setdefault(event.id, event.time)
            due = event.time - last >= TRANSFER_PAUSE
            if due:
                self._told[event.id] = event.time
            return due


@contextmanager
def open_space(
    root: str,
    registries: RegistryConfig | None = None,
    *,
    isolation: str = "",
    verbose: bool = False,
) -> Iterator[Space]:
    """A space that tells its user what happens and whose stop event signals set."""
    stop = threading.Event()
    sink = Teller(verbose=verbose)
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
