"""One solve of all targets: the first pass where the process stands, the second one inside.

The first pass finds what the cache holds and does what needs no namespace. The first command that
has to run ends it; the process enters its namespaces and the second pass goes on. A step that
several targets have is done once, by the services of the first of them.
"""

from collections.abc import Mapping, Sequence

from lazybuild.build.caches import Solved
from lazybuild.build.engine import JOBS
from lazybuild.build.jobs import Job, Part
from lazybuild.build.space import Space
from lazybuild.build.translate import start_of
from lazybuild.build.workbench import Workbench
from lazybuild.llb.graph import Vertex, walk
from lazybuild.llb.ops import ExecOp
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.solver.solve import Solver
from lazybuild.solver.types import KeyPlan, Selection
from lazybuild.worker.services import AnyOf, NamespaceNeededError, Result
from lazybuild.worker.worker import Worker


class Workers:
    """The solver's `Ops`: sends each vertex to the worker of its target."""

    def __init__(self, of: Mapping[str, Worker]) -> None:
        self._of = of

    def plan(self, vertex: Vertex) -> KeyPlan:
        return self._of[vertex.digest].plan(vertex)

    def content(self, vertex: Vertex, index: int, selection: Selection, result: Result) -> str:
        return self._of[vertex.digest].content(vertex, index, selection, result)

    def run(self, vertex: Vertex, inputs: Sequence[Result]) -> Result:
        return self._of[vertex.digest].run(vertex, inputs)


class Joint:
    """The solve, and what is known of it whether it ends well or not."""

    def __init__(self, space: Space, bench: Workbench, jobs: Sequence[Job]) -> None:
        self._space = space
        self._bench = bench
        self._jobs = jobs
        self._heads = [head for job in jobs for head in job.heads]
        self._commands = any(
            isinstance(vertex.op, ExecOp) for head in self._heads for vertex in walk(head)
        )
        self._layered: dict[str, Snapshot] = {}
        for job in jobs:
            bench.announcer.know(job.name, job.events, job.heads)
        self._records = bench.records(self._heads)
        self._solver = self._pass()

    def solve(self) -> None:
        try:
            self._attempt()
        except NamespaceNeededError:
            self._space.enter()
            self._solver = self._pass()
            self._attempt()

    def _attempt(self) -> None:
        self._bench.early.plan(self._heads, self._solver.runs)
        try:
            self._solver.solve(self._heads)
        finally:
            self._bench.early.end()
            self._bench.trace.settle(self._heads)

    def done(self) -> list[Job]:
        """The targets whose every image has its files."""
        return [
            job
            for job in self._jobs
            if all(self._solver.peek(head) is not None for head in job.heads)
        ]

    def keep(self, job: Job) -> None:
        """Let the target's caches know its graphs; once, when they are solved."""
        for head in job.heads:
            job.engine.caches.keep(
                Solved(
                    head=head,
                    final=self._snapshot(job, head),
                    solver=self._solver,
                    records=self._records,
                )
            )

    def snapshot(self, job: Job, part: Part) -> Snapshot:
        head = part.compiled.head
        return self._snapshot(job, head.vertex).output(head.index) if head else Snapshot()

    def _snapshot(self, job: Job, head: Vertex) -> Snapshot:
        if head.digest not in self._layered:
            result = self._solver.peek(head)
            if result is None:
                raise ValueError("a target is only kept when it is done")
            self._layered[head.digest] = job.engine.layered(result)
        return self._layered[head.digest]

    def _pass(self) -> Solver[Result]:
        """Needing a namespace ends the first pass without being a failure of the build."""
        inside, stop = self._space.inside, self._space.stop
        if inside and self._commands:
            self._bench.ahead.begin(self._heads)
        return Solver(
            Workers(self._workers()),
            self._records,
            self._bench.reporter,
            jobs=self._jobs[0].request.jobs or JOBS,
            parallel=inside or not self._commands,
            stop=stop if inside else AnyOf(stop),
            done={digest: it for job in self._jobs for digest, it in job.engine.seen.items()},
        )

    def _workers(self) -> Mapping[str, Worker]:
        found: dict[str, Worker] = {}
        for job in self._jobs:
            for part in job.parts:
                worker = job.engine.worker(start_of(part.compiled.config.config))
                for head in part.heads:
                    found = {vertex.digest: worker for vertex in walk(head)} | found
        return found
