"""The machine's view: one JSON object a line in the form of BuildKit's SolveStatus.

Source: moby/buildkit client/graph.go, `SolveStatus`. Times are RFC 3339 in UTC, data is base64.
"""

import base64
import hashlib
import json
import threading
from datetime import UTC, datetime
from typing import TextIO

from lazybuild.cli.progress.steps import Step, Steps
from lazybuild.events import Event, Transfer, VertexDone, VertexLog, VertexStarted, Warned


class RawJsonView:
    """Prints every event at once as a status object of its own."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._steps = Steps()
        self._inputs: dict[str, tuple[str, ...]] = {}

    @property
    def steps(self) -> Steps:
        return self._steps

    def close(self) -> None:
        self._out.flush()

    def __call__(self, event: Event) -> None:
        with self._lock:
            status = self._status(event)
            if status is not None:
                self._out.write(json.dumps(status, separators=(",", ":")) + "\n")
                self._out.flush()

    def _status(self, event: Event) -> dict[str, object] | None:
        match event:
            case VertexStarted():
                self._inputs[event.vertex] = tuple(map(digest, event.inputs))
                step = self._steps.begin(event.vertex, event.name, event.time)
                return {"vertexes": [self._vertex(event.vertex, step)]}
            case VertexDone():
                step = self._steps.begin(event.vertex, event.name, event.time)
                step.finished, step.cached, step.error = event.time, event.cached, event.error
                step.flush()
                return {"vertexes": [self._vertex(event.vertex, step)]}
            case VertexLog():
                step_of_log = self._steps.get(event.vertex)
                if step_of_log is not None:
                    step_of_log.lines(event.stream, event.data)
                return {"logs": [log(event)]}
            case _:
                return other(event)

    def _vertex(self, vertex_id: str, step: Step) -> dict[str, object]:
        vertex: dict[str, object] = {
            "digest": digest(vertex_id),
            "name": step.name,
            "started": stamp(step.started),
        }
        if self._inputs.get(vertex_id):
            vertex["inputs"] = list(self._inputs[vertex_id])
        if step.finished:
            vertex["completed"] = stamp(step.finished)
        if step.cached:
            vertex["cached"] = True
        if step.error:
            vertex["error"] = step.error
        return vertex


def other(event: Event) -> dict[str, object] | None:
    """The status of an event that is not about a vertex's course."""
    if isinstance(event, Transfer):
        return {"statuses": [transfer(event)]}
    if isinstance(event, Warned):
        return {"warnings": [warning(event)]}
    return None


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def log(event: VertexLog) -> dict[str, object]:
    data = base64.b64encode(event.data).decode()
    return {
        "vertex": digest(event.vertex),
        "stream": event.stream,
        "data": data,
        "timestamp": stamp(event.time),
    }


def transfer(event: Transfer) -> dict[str, object]:
    status: dict[str, object] = {
        "id": event.id,
        "vertex": digest(event.vertex),
        "current": event.current,
        "timestamp": stamp(event.time),
    }
    if event.total:
        status["total"] = event.total
    if event.done:
        status["completed"] = stamp(event.time)
    return status


def warning(event: Warned) -> dict[str, object]:
    """Absent is what is empty; a place is a range of one line."""
    found: dict[str, object] = {"level": 1, "short": encoded(event.message)}
    if event.vertex:
        found["vertex"] = digest(event.vertex)
    if event.detail:
        found["detail"] = [encoded(line) for line in event.detail]
    if event.url:
        found["url"] = event.url
    if event.line:
        found["sourceInfo"] = {"filename": event.path}
        found["range"] = [{"start": {"line": event.line}, "end": {"line": event.line}}]
    return found


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def digest(vertex: str) -> str:
    """A vertex of the builder's own work has a name instead; a digest is asked for."""
    if vertex.startswith("sha256:"):
        return vertex
    return f"sha256:{hashlib.sha256(vertex.encode()).hexdigest()}"
