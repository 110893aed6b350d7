"""What is one target's own in a solve: its sources, secrets, caches to give, ways of writing."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lazybuild.build.caches import Caches
from lazybuild.build.collect import Collector
from lazybuild.build.space import Space
from lazybuild.build.translate import writer_options
from lazybuild.build.workbench import Workbench
from lazybuild.errors import LazybuildError
from lazybuild.llb.graph import Edge
from lazybuild.request import BuildRequest
from lazybuild.snapshots.closure import Start
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.snapshots.tree import Tree
from lazybuild.solver.solve import Solver
from lazybuild.sources.images import Images
from lazybuild.sources.local import LocalSources, StoredDigests
from lazybuild.worker.services import AnyOf, Result, Services, Source, nothing_to_restore
from lazybuild.worker.sources import ImageSource, LocalSource
from lazybuild.worker.worker import Worker

if TYPE_CHECKING:
    from lazybuild.build.cache_mounts import CacheMounts

JOBS = 8
REMOTE = ("http", "https", "git")


class Engine:
    """For one target; keeps what the statistics ask for."""

    def __init__(
        self,
        space: Space,
        request: BuildRequest,
        bench: Workbench,
        directories: Mapping[str, Path],
        *,
        events: Collector,
        name: str,
    ) -> None:
        self._space = space
        self._events, self._name = events, name
        self._request = request
        self._bench = bench
        self.options = writer_options(request)
        self.converts_base = request.convert_base
        self.tools: set[str] = set()
        """Digests of layers that are mounted for a program of the build, and are no base."""

        self.images = Images(space.store, space.registry, pull=request.pull)
        self.snapshots, self.lowers = bench.snapshots, bench.lowers
        self.ahead, self.trace = bench.ahead, bench.trace
        self.caches = Caches(space, request, self.images)
        self.seen: dict[str, Result] = {}
        """Results of graphs on the way to the result, by vertex digest."""

        self._sources: dict[str, Source] = {
            "docker-image": ImageSource(
                self.images, self._mount_early, unverified=request.allow_unverified
            ),
            "local": LocalSource(LocalSources(directories, StoredDigests(space.store.meta))),
        }
        self._lock = threading.Lock()

    @cached_property
    def cache_mounts(self) -> "CacheMounts":
        from lazybuild.build.cache_mounts import CacheMounts  # noqa: PLC0415 - few builds need them

        return CacheMounts(self._space, self._request)

    def _source(self, scheme: str) -> Source | None:
        with self._lock:
            if scheme in REMOTE and scheme not in self._sources:
                self._sources |= self._remote()
        return self._sources.get(scheme)

    def _remote(self) -> Mapping[str, Source]:
        from lazybuild.build import remotes  # noqa: PLC0415 - few builds need them
        from lazybuild.worker.remotes import GitSource, HttpSource  # noqa: PLC0415 - likewise

        store = self._space.store
        http = HttpSource(remotes.downloads(store, self._request), self.snapshots)
        git = GitSource(remotes.repositories(store, self._request), self.snapshots)
        return {"http": http, "https": http, "git": git}

    def _mount_early(self, base: Snapshot) -> None:
        """Mount what can be lazy of a base where steps may follow: part of FROM, not of a RUN."""
        for layer_id in base.layers:
            with suppress(LazybuildError):  # the step that needs it will be told
                layer = self.snapshots.layer(layer_id)
                if not layer.directory:
                    self.lowers.folder(layer)

    def date(self, epoch: int | None) -> None:
        """The epoch that the compiled Dockerfile turned out to have."""
        self._request = replace(self._request, epoch=epoch)
        self.trace.ordered = self.trace.ordered or epoch is not None
        self.options = writer_options(self._request)

    @property
    def tier(self) -> str:
        """The rung of the ladder that was needed."""
        return self._space.tier

    def worker(self, start: Start) -> Worker:
        """What carries out the target's steps; `start` is how the image will be started."""
        return Worker(self._services(start, self._space.stop))

    def look(self, head: Edge, stop: threading.Event) -> Tree:
        """The files of a graph that is on the way to the result, until `stop` is set. What it made
        counts for all that is solved after it; its failure ends nothing else. The space must have
        been entered.
        """
        ending = AnyOf(self._space.stop, stop)
        self._bench.announcer.know(self._name, self._events, [head.vertex])
        self.ahead.begin([head.vertex])
        solver: Solver[Result] = Solver(
            Worker(self._services(Start(argv=()), ending)),
            self._bench.records([head.vertex]),
            self._bench.reporter,
            jobs=self._request.jobs or JOBS,
            stop=ending,
            done=self.seen,
        )
        (result,) = solver.solve([head.vertex])
        if isinstance(result, HostTree):
            return result
        return self.snapshots.tree(result.output(head.index))

    def layered(self, result: Result) -> Snapshot:
        """A result as layers, also one that is a directory of the client's."""
        if isinstance(result, HostTree):
            from lazybuild.worker import hostlayer  # noqa: PLC0415 - few builds need it

            services = self._services(Start(argv=()), self._space.stop)
            return hostlayer.snapshot(services, result)
        return result

    def _services(self, start: Start, stop: threading.Event) -> Services:
        request = self._request
        return Services(
            store=self._space.store,
            snapshots=self.snapshots,
            sources=self._source,
            sink=self._bench.announcer,
            stop=stop,
            host=self._space.host,
            tracer=self.trace,
            check=self._space.check,
            lost=self._space.lost,
            unreadable=self._space.unreadable,
            renew=self._bench.renew,
            options=self.options,
            start=start,
            epoch=request.epoch,
            secrets={secret.id: secret for secret in request.secrets},
            agents={agent.id: agent for agent in request.ssh},
            restore=self.cache_mounts.restore if request.cache_mounts_from else nothing_to_restore,
            on_failure=request.on_failure,
        )
