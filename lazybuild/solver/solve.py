"""The solver: from a graph to its result, doing only what the result needs.

Work is pulled: a vertex's key is computed from its inputs' keys or contents, and its inputs are
only solved when the key is not in the cache, or when a key depends on their content. Whatever is
independent runs in parallel. It knows no op: `Ops` says how one is keyed and run.
"""

import hashlib
import json
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Generic

from lazybuild.errors import BuildError, LazybuildError
from lazybuild.llb.graph import Edge, Vertex, depth, walk
from lazybuild.llb.ops import ExecOp
from lazybuild.solver.forecast import Forecast
from lazybuild.solver.once import Once, Others, StoppedError, gather
from lazybuild.solver.report import Reporter
from lazybuild.solver.types import Cache, KeyPlan, Ops, R, Selection

KEY_VERSION = 1
MAX_DEPTH = 1000
"""Steps that stand on one another. More than overlay can mount, and less than a stack holds."""

FRAMES = 30
"""More calls than one step takes on the way down: the solver recurses."""


class Solver(Generic[R]):
    """One solve. `jobs` bounds the commands that run at a time; `parallel` False keeps everything
    in the calling thread, for a process that may still have to enter a namespace. The first
    failure sets `stop`, and so does whoever wants the solve to end; nothing is begun after that.
    `done` holds results by vertex digest, of this solve and of those that it goes on from.
    """

    def __init__(
        self,
        ops: Ops[R],
        cache: Cache[R],
        reporter: Reporter,
        *,
        jobs: int = 8,
        parallel: bool = True,
        stop: threading.Event | None = None,
        done: dict[str, R] | None = None,
    ) -> None:
        self._ops = ops
        self._cache = cache
        self._report = reporter
        self._parallel = parallel
        self._stop = stop or threading.Event()
        self._slots = threading.BoundedSemaphore(max(1, jobs))
        self._done: dict[str, R] = {} if done is None else done
        self._guard = threading.Lock()
        self._keys: defaultdict[str, Once[str]] = defaultdict(Once)
        self._results: defaultdict[str, Once[R]] = defaultdict(Once)
        self._fresh: set[str] = set()
        self._made: defaultdict[str, Once[R]] = defaultdict(Once)  # by key
        self.parts: dict[str, tuple[str, ...]] = {}  # of keys, what each input of a vertex gave
        self._forecast = Forecast(ops, cache, self.key, self._memo)

    def solve(self, heads: Sequence[Vertex]) -> list[R]:
        """The results of some graphs, in order; what they have in common is done once.

        A step that one of them must not take from the cache is run for all of them. BuildError when
        too many steps stand on one another.
        """
        if any(depth(head) > MAX_DEPTH for head in heads):
            raise BuildError(f"more than {MAX_DEPTH} steps stand on one another")
        sys.setrecursionlimit(max(sys.getrecursionlimit(), MAX_DEPTH * FRAMES))
        self._fresh |= {
            vertex.digest for head in heads for vertex in walk(head) if vertex.options.ignore_cache
        }
        return gather([partial(self._result, head) for head in heads], parallel=self._parallel)

    def peek(self, vertex: Vertex) -> R | None:
        """The result if there is one already."""
        with self._guard:
            cell = self._results.get(vertex.digest)
        return cell.peek() if cell else None

    def key(self, vertex: Vertex) -> str:
        """The cache key of a vertex: its identity between builds."""
        with self._guard:
            cell = self._keys[vertex.digest]
        with blame(vertex):
            return cell.get(lambda: self._compute_key(vertex))

    def plan(self, vertex: Vertex) -> KeyPlan:
        return self._ops.plan(vertex)

    def runs(self, vertex: Vertex) -> bool | None:
        """Whether a vertex has to run, if it is wanted; None when only running another tells."""
        return self._forecast.runs(vertex)

    def known_key(self, vertex: Vertex) -> str | None:
        """The key if this solve has computed it; nothing is done for it."""
        with self._guard:
            cell = self._keys.get(vertex.digest)
        return cell.peek() if cell else None

    def _compute_key(self, vertex: Vertex) -> str:
        plan = self._ops.plan(vertex)
        selections = plan.inputs or (None,) * len(vertex.inputs)
        tasks = [
            partial(self._input_key, vertex, index, edge, selection)
            for index, (edge, selection) in enumerate(zip(vertex.inputs, selections, strict=True))
        ]
        parts = gather(tasks, parallel=self._parallel)
        self.parts[vertex.digest] = tuple(parts)
        return digest_of([KEY_VERSION, plan.digest, *parts])

    def _input_key(
        self, vertex: Vertex, index: int, edge: Edge, selection: Selection | None
    ) -> str:
        if selection is None:
            return f"{self.key(edge.vertex)}:{edge.index}"
        plan = self._ops.plan(edge.vertex)
        if not plan.stable:
            return self._content(vertex, index, edge, selection)
        memo = self._memo(edge.vertex, selection)
        memo += f":{edge.index}" if edge.index else ""
        known = self._cache.memo(memo)
        if known is None:
            known = self._content(vertex, index, edge, selection)
            self._cache.save_memo(memo, known)
        return known

    def _memo(self, vertex: Vertex, selection: Selection) -> str:
        return digest_of([KEY_VERSION, "content", self.key(vertex), selection.fingerprint])

    def _content(self, vertex: Vertex, index: int, edge: Edge, selection: Selection) -> str:
        with blame(vertex):  # what is not there to be hashed is missed by the one that copies it
            return self._ops.content(vertex, index, selection, self._result(edge.vertex))

    def _result(self, vertex: Vertex) -> R:
        with self._guard:
            cell = self._results[vertex.digest]
        with blame(vertex):
            return cell.get(lambda: self._known_or_made(vertex))

    def _known_or_made(self, vertex: Vertex) -> R:
        known = self._done.get(vertex.digest)
        if known is not None:
            self.key(vertex)  # whoever exports a cache will ask for it
            return known
        made = self._done[vertex.digest] = self._compute(vertex)
        return made

    def _compute(self, vertex: Vertex) -> R:
        plan = self._ops.plan(vertex)
        with self._meanwhile(vertex):
            known = self._load(vertex, plan)
        if known is not None:
            self._report.cached(vertex)
            return known
        tasks = [partial(self._result, edge.vertex) for edge in vertex.inputs]
        inputs = gather(tasks, parallel=self._parallel)
        return self._run(vertex, plan, inputs)

    @contextmanager
    def _meanwhile(self, vertex: Vertex) -> Iterator[None]:
        """Run what will have to run, too, while the key of a vertex waits for a content."""
        beside = list(self._forecast.beside(vertex)) if self._parallel else []
        others = Others([partial(self._result, other) for other in beside])
        try:
            yield
        except StoppedError:
            others.wait()
            others.raise_failure()  # which is why this was stopped
            raise
        finally:
            others.wait()

    def _load(self, vertex: Vertex, plan: KeyPlan) -> R | None:
        if not plan.stable or vertex.digest in self._fresh:
            return None
        return self._cache.load(self.key(vertex), vertex)

    def _run(self, vertex: Vertex, plan: KeyPlan, inputs: list[R]) -> R:
        """Run it, or take what a vertex with the same key has made meanwhile."""
        if not plan.stable or vertex.digest in self._fresh:
            return self._made_by(vertex, plan, inputs)
        key = self.key(vertex)
        with self._guard:
            cell = self._made[key]
        result = cell.get(partial(self._made_by, vertex, plan, inputs))
        self._report.started(vertex)
        self._report.done(vertex, cached=True)  # nothing is told twice
        return result

    def _made_by(self, vertex: Vertex, plan: KeyPlan, inputs: list[R]) -> R:
        slot: AbstractContextManager[object] = (
            self._slots if isinstance(vertex.op, ExecOp) else nullcontext()
        )
        with slot:
            if self._stop.is_set():
                raise StoppedError(vertex.name)
            self._report.started(vertex)
            result = self._attempt(vertex, inputs)
            if plan.stable:
                self._cache.save(self.key(vertex), vertex, result)
            self._report.done(vertex)
            return result

    def _attempt(self, vertex: Vertex, inputs: list[R]) -> R:
        try:
            return self._ops.run(vertex, inputs)
        except BaseException as error:
            if self._parallel:
                self._stop.set()
            if isinstance(error, LazybuildError):
                self._report.done(vertex, error=error.message)
            raise


class blame:  # noqa: N801 - reads as a statement
    """Names the instruction in an error that doesn't know it. A source has none: it is left to
    the step that wants it.
    """

    def __init__(self, vertex: Vertex) -> None:
        self._vertex = vertex

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        spans = self._vertex.options.spans
        if isinstance(error, LazybuildError) and spans and not error.vertex:
            error.vertex = self._vertex.digest
            error.span = error.span or spans[0]


def digest_of(parts: list[object]) -> str:
    text = json.dumps(parts, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
