"""The view for terminals: running steps with their last lines, finished ones folded to one line.

The only door to rich. No thread is started before the build says `Ready`.
"""

import threading
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TextIO

from rich.console import Console, Group
from rich.errors import StyleSyntaxError
from rich.live import Live
from rich.style import Style
from rich.text import Text

from lazybuild.cli.progress.escape import one_line, plain_text
from lazybuild.cli.progress.plain import amounts
from lazybuild.cli.progress.steps import Step, Steps
from lazybuild.errors import UsageError
from lazybuild.events import (
    Event,
    Noted,
    Ready,
    Transfer,
    VertexDone,
    VertexLog,
    VertexStarted,
    Warned,
)

LOG_LINES = 6
DEFAULTS = {"run": "blue", "error": "red", "warning": "yellow", "cancel": "yellow"}
FRAME_SECONDS = 0.15
STYLES = {name: Style.parse(text) for name, text in DEFAULTS.items()}


class TtyView:
    """Draws the running steps below, prints what is done above."""

    def __init__(
        self,
        out: TextIO,
        log_lines: int = LOG_LINES,
        colours: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`colours` are styles of rich, in the place of STYLES."""
        self._console = Console(file=out, highlight=False, soft_wrap=False)
        self._log_lines = log_lines
        self._styles = STYLES | {name: known(style) for name, style in colours.items()}
        self._lock = threading.RLock()
        self._steps = Steps()
        self._transfers: dict[str, str] = {}
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False
        )  # standard output may be an archive
        self._closed = threading.Event()
        self._ticker: threading.Thread | None = None
        self._live.start()

    @property
    def steps(self) -> Steps:
        return self._steps

    def close(self) -> None:
        self._closed.set()
        if self._ticker is not None:
            self._ticker.join()
        with self._lock:
            self._live.update(Text(""), refresh=True)
            self._live.stop()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._handle(event)
            if self._ticker is None and not self._closed.is_set():
                self._draw()

    def _handle(self, event: Event) -> None:
        match event:
            case VertexStarted():
                self._steps.begin(event.vertex, event.name, event.time)
            case VertexLog():
                step = self._steps.get(event.vertex)
                if step is not None:
                    step.lines(event.stream, event.data)
            case Transfer():
                self._transfers[event.vertex] = f"{one_line(event.id)} {amounts(event)}"
            case VertexDone():
                self._done(event)
            case Warned():
                self._console.print(
                    Text(plain_text(f"WARNING: {event.message}"), style=self._styles["warning"])
                )
            case Noted():
                self._console.print(Text(plain_text(event.message), style="dim"))
            case Ready():
                self._ticker = threading.Thread(target=self._tick, daemon=True)
                self._ticker.start()

    def _done(self, event: VertexDone) -> None:
        step = self._steps.begin(event.vertex, event.name, event.time)
        step.finished, step.cached, step.error = event.time, event.cached, event.error
        step.flush()
        self._transfers.pop(event.vertex, None)
        self._draw()  # or it would be drawn once more, below its outcome
        self._console.print(self._outcome(step))

    def _tick(self) -> None:
        while not self._closed.wait(FRAME_SECONDS):
            with self._lock:
                self._draw()

    def _draw(self) -> None:
        running = [pair for pair in self._steps.items() if not pair[1].finished]
        shown = Group(*(text for pair in running for text in self._show(*pair)))
        self._live.update(shown, refresh=True)

    def _show(self, vertex: str, step: Step) -> list[Text]:
        transfer = self._transfers.get(vertex, "")
        head = f" => {step.name}  {transfer}  {time.time() - step.started:.1f}s"
        lines = list(step.tail)[-self._log_lines :] if self._log_lines else []
        shown = [
            Text(f" => => {plain_text(line)}", style="dim", overflow="ellipsis", no_wrap=True)
            for line in lines
        ]
        return [Text(head, overflow="ellipsis", no_wrap=True), *shown]

    def _outcome(self, step: Step) -> Text:
        if step.error:
            return Text(f" => ERROR {step.name}", style=self._styles["error"])
        if step.cached:
            return Text(f" => CACHED {step.name}", style=self._styles["run"])
        return Text(f" => {step.name}  {step.seconds:.1f}s", style=self._styles["run"])


def known(style: str) -> Style:
    """UsageError for what is no colour."""
    try:
        return Style.parse(style)
    except StyleSyntaxError as error:
        raise UsageError(f"$BUILDKIT_COLORS: {style} is not a colour") from error
