"""Solves a graph in a space: the first pass where the process stands, the second one inside.

The first pass finds what the cache holds and does what needs no namespace. The first command that
has to run ends it; the process enters its namespaces and the second pass goes on.
"""

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lazybuild.build import remotes
from lazybuild.build.accesses import Accesses
from lazybuild.build.ahead import OFF, Ahead
from lazybuild.build.bases import Bases
from lazybuild.build.cache_mounts import CacheMounts
from lazybuild.build.caches import Caches, Solved
from lazybuild.build.lowers import Lowers
from lazybuild.build.sharing import Sharing
from lazybuild.build.space import Space
from lazybuild.build.trace import Trace
from lazybuild.estargz.writer import WriterOptions
from lazybuild.exchange.imports import ImportedRecords
from lazybuild.llb.graph import Vertex, walk
from lazybuild.llb.ops import ExecOp
from lazybuild.request import BuildRequest, Pull
from lazybuild.snapshots.closure import Start
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.snapshots.manager import Snapshot, Snapshots
from lazybuild.snapshots.tree import Tree
from lazybuild.solver.report import Reporter
from lazybuild.solver.solve import Solver
from lazybuild.sources.images import Images
from lazybuild.sources.local import LocalSources, StoredDigests
from lazybuild.worker import hostlayer
from lazybuild.worker.execution import AnyOf
from lazybuild.worker.services import NamespaceNeededError, Result, Services, Source
from lazybuild.worker.sources import GitSource, HttpSource, ImageSource, LocalSource
from lazybuild.worker.worker import Worker

JOBS = 8


class Engine:
    """Solves for one build; keeps what the statistics ask for."""

    def __init__(
        self,
        space: Space,
        request: BuildRequest,
        directories: Mapping[str, Path],
        options: WriterOptions,
    ) -> None:
        self._space = space
        self._request = request
        self.options = options
        self.converts_base = request.convert_base
        self.tools: set[str] = set()
        """Digests of layers that are mounted for a program of the build, and are no base."""

        self.images = Images(space.store, space.registry, pull=request.pull)
        self.lowers = Lowers(
            space,
            require_lazy=request.require_lazy,
            allow_unverified=request.allow_unverified,
            keep_blobs=request.convert_base,
        )
        self.snapshots = Snapshots(
            space.store,
            self.lowers,
            space.ranges,
            folder=self.lowers.folder,
            look=self.lowers.need_inside,
            copies=space.copies,
            sink=space.sink,
        )
        self.accesses = Accesses(space)
        self.ahead = Ahead(
            space,
            self.accesses,
            source=request.profile_from or (OFF if request.pull is Pull.NEVER else ""),
            background=request.background_fetch,
        )
        self.bases = Bases(space.store, self.images, self.lowers, space.sink)
        self.trace = Trace(
            space,
            self.snapshots,
            self.accesses,
            self.ahead,
            ordered=request.epoch is not None,
            begun=self.bases.begin,
            bases=request.convert_base,
        )
        self.caches = Caches(space, request, self.images)
        self.cache_mounts = CacheMounts(space, request)
        self._reporter = Reporter(space.sink)
        self._seen: dict[str, Result] = {}
        self._sources: dict[str, Source] = {
            "docker-image": ImageSource(self.images, unverified=request.allow_unverified),
            "local": LocalSource(LocalSources(directories, StoredDigests(space.store.meta))),
        }
        http = HttpSource(remotes.downloads(space.store, request), self.snapshots)
        git = GitSource(remotes.repositories(space.store, request), self.snapshots)
        self._sources |= {"http": http, "https": http, "git": git}

    def date(self, epoch: int | None, options: WriterOptions) -> None:
        """The epoch that the compiled Dockerfile turned out to have."""
        self._request = replace(self._request, epoch=epoch)
        self.trace.ordered = epoch is not None
        self.options = options

    def solve(self, head: Vertex, start: Start) -> Snapshot:
        """The snapshot of `head`; `start` is how the image will be started."""
        records = self.caches.records(head)
        try:
            return self._attempt(head, start, records)
        except NamespaceNeededError:
            self._space.enter()
            return self._attempt(head, start, records)

    def look(self, head: Vertex, stop: threading.Event) -> Tree:
        """The files of a graph that is on the way to the result, until `stop` is set. What it made
        counts for all that is solved after it; its failure ends nothing else. The space must have
        been entered.
        """
        records = self.caches.records(head)
        ending = AnyOf(self._request.stop, stop)
        result = self._solver(head, Start(argv=()), records, ending, self._seen).solve(head)
        return result if isinstance(result, HostTree) else self.snapshots.tree(result)

    def sharing(self, target: str) -> Sharing:
        """Pushes access profiles while the context holds."""
        return Sharing(self._space, self.accesses, self.ahead, self.images, target=target)

    def _attempt(self, head: Vertex, start: Start, records: ImportedRecords) -> Snapshot:
        solver = self._solver(head, start, records, self._request.stop, dict(self._seen))
        self.bases.plan(head, solver.runs)
        try:
            result = solver.solve(head)
        finally:
            self.bases.end()
        if isinstance(result, HostTree):
            result = hostlayer.snapshot(self._services(start, self._request.stop), result)
        self.caches.keep(Solved(head=head, final=result, solver=solver, records=records))
        return result

    def _solver(
        self,
        head: Vertex,
        start: Start,
        records: ImportedRecords,
        stop: threading.Event,
        done: dict[str, Result],
    ) -> Solver[Result]:
        inside = self._space.inside
        commands = any(isinstance(vertex.op, ExecOp) for vertex in walk(head))
        if inside and commands:
            self.ahead.begin(head)
        return Solver(
            Worker(self._services(start, stop)),
            records,
            self._reporter,
            jobs=self._request.jobs or JOBS,
            parallel=inside or not commands,
            stop=stop,
            done=done,
        )

    def _renew(self) -> None:
        self._space.renew_lazy()
        self.snapshots.forget_mounted()

    def _services(self, start: Start, stop: threading.Event) -> Services:
        request = self._request
        return Services(
            store=self._space.store,
            snapshots=self.snapshots,
            sources=self._sources,
            sink=self._space.sink,
            stop=stop,
            host=self._space.host,
            tracer=self.trace,
            check=self._space.check,
            lost=self._space.lost,
            renew=self._renew,
            options=self.options,
            start=start,
            epoch=request.epoch,
            secrets={secret.id: secret for secret in request.secrets},
            agents={agent.id: agent for agent in request.ssh},
            restore=self.cache_mounts.restore,
            on_failure=request.on_failure,
        )
