"""Tells of each vertex once, however often the solver comes by (a second pass, a shared input)."""

import threading

from lazybuild.events import Sink, VertexDone, VertexStarted
from lazybuild.llb.graph import Vertex, walk


class Reporter:
    """Turns what happens to vertices into events. Safe to share among threads and passes."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        self._started: set[str] = set()
        self._done: set[str] = set()

    def started(self, vertex: Vertex) -> None:
        if self._first(self._started, vertex):
            inputs = tuple(edge.vertex.digest for edge in vertex.inputs)
            self._sink(VertexStarted(vertex=vertex.digest, name=vertex.name, inputs=inputs))

    def done(self, vertex: Vertex, *, cached: bool = False, error: str = "") -> None:
        if self._first(self._done, vertex):
            self._sink(
                VertexDone(vertex=vertex.digest, name=vertex.name, cached=cached, error=error)
            )

    def cached(self, head: Vertex) -> None:
        """`head` came from the cache, and so whatever it is made of need not be looked at."""
        for vertex in walk(head):
            if vertex is head or vertex.digest not in self._started:
                self.started(vertex)
                self.done(vertex, cached=True)

    def _first(self, seen: set[str], vertex: Vertex) -> bool:
        with self._lock:
            new = vertex.digest not in seen
            seen.add(vertex.digest)
            return new
