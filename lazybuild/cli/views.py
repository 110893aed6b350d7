"""Chooses the view of a build, and gathers what the last lines and the metadata need."""

import os
import sys
from pathlib import Path
from typing import Protocol, TextIO

from lazybuild.cli import environment
from lazybuild.cli.progress import escape
from lazybuild.cli.progress.steps import Step, Steps
from lazybuild.errors import UsageError
from lazybuild.events import Event, VertexDone, VertexLog, VertexStarted, Warned

MODES = ("auto", "plain", "tty", "quiet", "rawjson", "none")


class View(Protocol):
    """Takes events until it is closed."""

    @property
    def steps(self) -> Steps: ...

    def __call__(self, event: Event) -> None: ...

    def close(self) -> None: ...


class QuietView:
    """Shows warnings and keeps the rest for the error message."""

    def __init__(self, out: TextIO, harmless: escape.Escape = escape.plain_text) -> None:
        self._out = out
        self._escape = harmless
        self.steps = Steps()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Warned):
            self._out.write(escape.lines(f"WARNING: {event.message}\n", self._escape))
        elif isinstance(event, VertexStarted):
            self.steps.begin(event.vertex, event.name, event.time)
        elif isinstance(event, VertexLog):
            self._keep(event)
        elif isinstance(event, VertexDone) and event.error:
            step = self.steps.begin(event.vertex, event.name, event.time)
            step.error = event.error
            step.flush()

    def _keep(self, event: VertexLog) -> None:
        step = self.steps.get(event.vertex)
        if step is not None:
            step.lines(event.stream, event.data)

    def close(self) -> None:
        self._out.flush()


def open_view(mode: str) -> View:
    """The view for a mode; `auto` is tty on a terminal that can draw, else plain."""
    if mode == "auto":
        drawable = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        mode = "tty" if drawable and not os.environ.get("CI") else "plain"
    if mode == "tty":
        from lazybuild.cli.progress.tty import TtyView  # noqa: PLC0415 - rich only for terminals

        look = environment.look()
        return TtyView(sys.stderr, log_lines=look.log_lines, colours=look.colours)
    if mode == "rawjson":
        from lazybuild.cli.progress.rawjson import RawJsonView  # noqa: PLC0415 - seldom wanted

        return RawJsonView(sys.stderr)
    on_github = os.environ.get("GITHUB_ACTIONS") == "true"
    harmless = escape.github if on_github else escape.plain_text
    if mode in ("quiet", "none"):
        return QuietView(sys.stderr, harmless)
    from lazybuild.cli.progress.plain import PlainView  # noqa: PLC0415 - one view is enough

    return PlainView(sys.stderr, harmless)


class LoggedView:
    """A view, and beside it a file with the whole of it in plain lines."""

    def __init__(self, view: View, log: View) -> None:
        self._view = view
        self._log = log

    @property
    def steps(self) -> Steps:
        return self._view.steps

    def __call__(self, event: Event) -> None:
        self._view(event)
        self._log(event)

    def close(self) -> None:
        self._view.close()
        self._log.close()


def logged(view: View, path: str) -> View:
    """The view with a log file; without a path, the view as it is."""
    if not path:
        return view
    from lazybuild.cli.progress.plain import PlainView  # noqa: PLC0415 - seldom wanted beside one

    try:
        file = Path(path).open("w", encoding="utf-8", buffering=1)  # noqa: SIM115 - open as long as the process is
    except OSError as error:
        raise UsageError(f"--logfile {path}: {error.strerror}") from error
    return LoggedView(view, PlainView(file, escape.plain_text))


class NotingView:
    """A view, and a list of what it was warned of."""

    def __init__(self, view: View, warned: list[Warned]) -> None:
        self._view = view
        self._warned = warned

    @property
    def steps(self) -> Steps:
        return self._view.steps

    def __call__(self, event: Event) -> None:
        if isinstance(event, Warned):
            self._warned.append(event)
        self._view(event)

    def close(self) -> None:
        self._view.close()


def failed_step(view: View) -> Step | None:
    return view.steps.failed()
