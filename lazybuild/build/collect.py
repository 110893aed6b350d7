"""Listens to a build on its way to the view, and counts what the statistics want."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from lazybuild.dockerfile import sensitive
from lazybuild.events import Event, Sink, VertexDone, VertexStarted
from lazybuild.request import StepStats

INTERNAL = "[internal]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """When a step ran, in seconds; of `time.time()` unless it is said to be otherwise."""

    name: str
    begin: float
    end: float
    cached: bool = False


class Collector:
    """A sink that passes everything on. `hidden` are values that no name of a step may keep."""

    def __init__(self, sink: Sink, hidden: Sequence[str] = ()) -> None:
        self._sink = sink
        self._hidden = hidden
        self._lock = threading.Lock()
        self._started: dict[str, float] = {}
        self._spans: list[Span] = []
        self.cached: dict[str, bool] = {}

    def __call__(self, event: Event) -> None:
        self.note(event)
        self._sink(event)

    def note(self, event: Event) -> None:
        """Count what somebody else shows."""
        with self._lock:
            if isinstance(event, VertexStarted):
                self._started[event.vertex] = event.time
            elif isinstance(event, VertexDone) and not event.name.startswith(INTERNAL):
                self._spans.append(self._span(event))
                self.cached[event.vertex] = event.cached

    def spans(self) -> tuple[Span, ...]:
        """Of the steps that are over, in the order in which they ended."""
        with self._lock:
            return tuple(self._spans)

    def steps(self) -> tuple[StepStats, ...]:
        return tuple(step_of(span) for span in self.spans())

    def _span(self, event: VertexDone) -> Span:
        begin = self._started.get(event.vertex, event.time)
        name = sensitive.hide(event.name, self._hidden)
        return Span(name=name, begin=begin, end=event.time, cached=event.cached)


def step_of(span: Span) -> StepStats:
    return StepStats(name=span.name, cached=span.cached, seconds=round(span.end - span.begin, 3))


class task:  # noqa: N801 - reads as a statement
    """Work of the builder itself that is shown as a step: `with task(sink, "[internal] ..."):`."""

    def __init__(self, sink: Sink, name: str) -> None:
        self._sink = sink
        self._name = name

    def __enter__(self) -> None:
        self._sink(VertexStarted(vertex=self._name, name=self._name))

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        text = str(error) if error is not None else ""
        self._sink(VertexDone(vertex=self._name, name=self._name, error=text))
