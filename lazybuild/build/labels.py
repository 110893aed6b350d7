"""Tells the targets of one build apart in what is shown of them.

The form of names is that of `docker buildx bake`: `[app dev 2/3] RUN make`, `[app] exporting`.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from lazybuild.build.collect import Collector
from lazybuild.events import (
    Event,
    Noted,
    Sink,
    Transfer,
    VertexDone,
    VertexLog,
    VertexStarted,
    Warned,
)
from lazybuild.llb.graph import Vertex, walk


def labelled(view: Sink, label: str) -> Sink:
    """For the builder's own work, whose vertices have no digest: several targets have it."""
    if not label:
        return view

    def sink(event: Event) -> None:
        match event:
            case VertexStarted() | VertexDone() | VertexLog() | Transfer():
                view(named(replace(event, vertex=f"{label} {event.vertex}"), label))
            case _:
                view(named(event, label))

    return sink


def named(event: Event, label: str) -> Event:
    """The same event, said of a target."""
    if not label:
        return event
    match event:
        case VertexStarted() | VertexDone():
            bracketed = event.name.startswith("[")
            name = f"[{label} {event.name[1:]}" if bracketed else f"[{label}] {event.name}"
            return replace(event, name=name)
        case Warned() | Noted():
            return replace(event, message=f"{label}: {event.message}")
        case _:
            return event


class Announcer:
    """Shows what happens to a vertex once, with the name of the first target that has it. Every
    target that has it counts it.
    """

    def __init__(self, view: Sink) -> None:
        self._view = view
        self._owners: defaultdict[str, dict[str, Collector]] = defaultdict(dict)

    def know(self, label: str, collector: Collector, heads: Iterable[Vertex]) -> None:
        """Before anything is told of them."""
        for digest in {vertex.digest for head in heads for vertex in walk(head)}:
            self._owners[digest][label] = collector

    def __call__(self, event: Event) -> None:
        owners = self._owners.get(getattr(event, "vertex", ""), {})
        for collector in owners.values():
            collector.note(event)
        self._view(named(event, next(iter(owners), "")))
