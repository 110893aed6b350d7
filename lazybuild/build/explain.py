"""Why each step was in the cache or had to run: its key beside that of the last build of its place.

A place is a stage and a number (`[dev 3/5]`), or the name of a step that has none, in one target of
one Dockerfile. What keys are made of is kept in the store as digests; no value is.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lazybuild.build.caches import Solved
from lazybuild.events import Noted, Sink
from lazybuild.llb.graph import Vertex, walk
from lazybuild.request import BuildRequest
from lazybuild.store import Store
from lazybuild.worker.facts import facts, inputs

MEMO = "explain"
MOST_CHANGES = 4

_PLACE = re.compile(r"\[([^\]]*?) ?(\d+)/\d+\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a key is made of: the step's own facts, then (name, value) of each input."""

    key: str
    facts: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[tuple[str, str], ...] = ()


def explain(
    solved: Solved, store: Store, request: BuildRequest, cached: Mapping[str, bool], sink: Sink
) -> None:
    """Tell of every step when that is asked for, and remember the keys for the next build."""
    scope = _scope(request, str(solved.head.platform or ""))
    text = store.meta.memo_get(MEMO, scope) or "{}"
    before = {place: _parts(value) for place, value in json.loads(text).items()}
    now = dict(_found(solved))
    if request.explain:
        for vertex in walk(solved.head):
            parts = now.get(place_of(vertex))
            if parts is not None and vertex.digest in cached:
                why = _why(solved, vertex, parts, before, cached=cached[vertex.digest])
                sink(Noted(message=f"explain: {vertex.name}: {why}"))
    kept = {**before, **now}
    new = json.dumps({place: asdict(parts) for place, parts in sorted(kept.items())})
    if new != text:
        store.meta.memo_put(MEMO, scope, new)


def _scope(request: BuildRequest, platform: str) -> str:
    context = request.context if "://" in request.context else str(Path(request.context).resolve())
    parts = [context, request.dockerfile, request.target, platform]
    return hashlib.sha256(json.dumps(parts).encode("utf-8", "surrogateescape")).hexdigest()


def place_of(vertex: Vertex) -> str:
    found = _PLACE.match(vertex.name)
    return f"{found[1]} {found[2]}" if found else vertex.name


def _parts(value: dict[str, object]) -> Parts:
    given: dict[str, object] = {"key": "", "facts": {}, "inputs": (), **value}
    return Parts(**given)  # type: ignore[arg-type]  # our own text, read back


def _found(solved: Solved) -> Iterator[tuple[str, Parts]]:
    for vertex in walk(solved.head):
        key, values = solved.key_of(vertex), solved.solver.parts.get(vertex.digest)
        if key and values is not None:
            names = inputs(vertex, solved.solver.plan(vertex))
            found = tuple(zip(names, values, strict=True))
            yield place_of(vertex), Parts(key=key, facts=facts(vertex), inputs=found)


def _why(
    solved: Solved, vertex: Vertex, now: Parts, before: Mapping[str, Parts], *, cached: bool
) -> str:
    last = before.get(place_of(vertex))
    if cached:
        title = solved.records.taken.get(now.key)
        if title:
            return f"cached, taken from {title}"
        same = last is not None and last.key == now.key
        return "cached, nothing changed" if same else "cached, as in an earlier build"
    if vertex.options.ignore_cache:
        return "ran, the cache is not to be used"
    if last is None:
        return "ran, it was never built here"
    if last.key == now.key:
        return "ran, nothing changed but its result is not kept any more"
    changes = list(_changes(last, now))
    more = f" and {len(changes) - MOST_CHANGES} more" if len(changes) > MOST_CHANGES else ""
    return f"ran, {', '.join(changes[:MOST_CHANGES])}{more}"


def _changes(last: Parts, now: Parts) -> Iterator[str]:
    """What is different, the step's own facts first."""
    for name in dict.fromkeys((*now.facts, *last.facts)):
        if name not in last.facts:
            yield f"{name} is new"
        elif name not in now.facts:
            yield f"{name} is gone"
        elif last.facts[name] != now.facts[name]:
            yield f"{name} changed"
    if len(last.inputs) != len(now.inputs):
        yield f"it has {len(now.inputs)} inputs, not {len(last.inputs)}"
        return
    for (_, value), (name, new) in zip(last.inputs, now.inputs, strict=True):
        if value != new:
            yield f"{name} changed"
