"""The plain view: stable lines for logs, in the form that `docker build --progress=plain` has.

Every line of a step begins with its number; output lines carry the seconds since the step began.
"""

import threading
import time
from typing import TextIO

from lazybuild.cli.progress.escape import Escape, lines, one_line
from lazybuild.cli.progress.steps import Step, Steps
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

TRANSFER_PAUSE = 5.0
HEARTBEAT = 60.0


class PlainView:
    """Prints events as they come. `escape` makes foreign output harmless for the log's reader.

    A step that says nothing for `patience` seconds is told to be still running, so that nobody
    takes the build for dead. That is a thread's work, which begins when threads may.
    """

    def __init__(self, out: TextIO, escape: Escape, *, patience: float = HEARTBEAT) -> None:
        self._out = out
        self._escape = escape
        self._lock = threading.Lock()
        self._steps = Steps()
        self._current = 0
        self._told: dict[tuple[str, str], float] = {}
        self._heard: dict[int, float] = {}
        self._patience = patience
        self._closed = threading.Event()

    @property
    def steps(self) -> Steps:
        return self._steps

    def close(self) -> None:
        self._closed.set()
        self._out.flush()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._handle(event)
            self._out.flush()

    def _handle(self, event: Event) -> None:
        match event:
            case VertexStarted():
                self._steps.begin(event.vertex, event.name, event.time)
            case VertexLog():
                self._log(event)
            case VertexDone():
                self._done(event)
            case Transfer():
                self._transfer(event)
            case Warned():
                self._out.write(lines(f"WARNING: {event.message}\n", self._escape))
            case Noted():
                self._out.write(lines(f"{event.message}\n", self._escape))
            case Ready():
                threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self._closed.wait(self._patience / 4):
            with self._lock:
                self._tell_silent(time.time())
                self._out.flush()

    def _tell_silent(self, now: float) -> None:
        for _, step in self._steps.items():  # noqa: PERF102 - not a dictionary
            heard = self._heard.get(step.number, step.started)
            if not step.finished and now - heard >= self._patience:
                self._line(step, f"still running after {now - step.started:.0f}s")

    def _log(self, event: VertexLog) -> None:
        step = self._steps.get(event.vertex)
        if step is not None:
            self._print_output(step, step.lines(event.stream, event.data), event.time)

    def _done(self, event: VertexDone) -> None:
        step = self._steps.begin(event.vertex, event.name, event.time)
        step.finished, step.cached, step.error = event.time, event.cached, event.error
        self._print_output(step, step.flush(), event.time)
        if event.error:
            self._line(step, lines(f"ERROR: {event.error}", self._escape))
        elif event.cached:
            self._line(step, "CACHED")
        else:
            self._line(step, f"DONE {step.seconds:.1f}s")

    def _transfer(self, event: Transfer) -> None:
        step = self._steps.get(event.vertex)
        key = (event.vertex, event.id)
        due = event.time - self._told.get(key, 0.0) >= TRANSFER_PAUSE
        if step is not None and (event.done or due):
            self._told[key] = event.time
            self._line(step, f"{one_line(event.id)} {amounts(event)}")

    def _print_output(self, step: Step, lines: list[str], now: float) -> None:
        for line in lines:
            self._line(step, f"{now - step.started:.3f} {self._escape(line)}")

    def _line(self, step: Step, text: str) -> None:
        if self._current != step.number:
            blank = "\n" if self._current else ""
            self._out.write(f"{blank}#{step.number} {step.name}\n")
            self._current = step.number
        self._heard[step.number] = time.time()
        self._out.write(f"#{step.number} {text}\n")


def amounts(event: Transfer) -> str:
    """`12.3MB / 45.6MB done`, in megabytes of 1,000,000 bytes."""
    total = f" / {event.total / 1e6:.1f}MB" if event.total else ""
    return f"{event.current / 1e6:.1f}MB{total}{' done' if event.done else ''}"
