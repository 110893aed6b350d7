"""`--on-failure=shell`: a shell where a step failed, on our terminal; the rest holds still."""

import os
import sys
import threading
from collections.abc import Callable

import click

from lazybuild.cli.views import View
from lazybuild.events import Event
from lazybuild.request import OnFailure

CHOICES = ("shell",)


class Shell:
    """A view that others wait for while the shell has the terminal."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._view(event)

    def open(self, name: str, run: Callable[[int], str]) -> None:
        """Called by the failed step, with what runs a shell in it on a terminal."""
        from lazybuild.cli import terminal  # noqa: PLC0415 - wanted only when something failed

        with self._lock:
            click.echo(f"\n{name} failed; this is a shell in it, `exit` goes on", err=True)
            with terminal.tied(target=2) as theirs:
                trouble = run(theirs)
            if trouble:
                click.echo(f"no shell: {trouble}", err=True)


def on_failure(choice: str, shell: Shell) -> OnFailure | None:
    """None when it is not wanted, or when nobody could type."""
    if not choice:
        return None
    if not os.isatty(0):
        click.echo("WARNING: --on-failure=shell: standard input is not a terminal", err=True)
        return None
    return shell.open


def plain_mode(mode: str, choice: str) -> str:
    """A view that draws can't share the terminal with a shell."""
    draws = mode == "tty" or (mode == "auto" and sys.stderr.isatty())
    return "plain" if choice and draws else mode
