"""URLs and repositories as the solver sees them: what identifies each, how it becomes a result."""

import threading
from collections.abc import Iterable

from lazybuild.estargz.entry import Item
from lazybuild.llb.graph import Vertex
from lazybuild.llb.ops import SourceOp
from lazybuild.snapshots import fileop
from lazybuild.snapshots.manager import Snapshots
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.solver.types import KeyPlan
from lazybuild.sources.git import GitSources, request_of
from lazybuild.sources.http import HttpSources
from lazybuild.worker.keys import source_plan
from lazybuild.worker.services import Result


class HttpSource:
    """`https://...`: identified by bytes, name and metadata of the file."""

    def __init__(self, sources: HttpSources, snapshots: Snapshots) -> None:
        self._sources = sources
        self._snapshots = snapshots

    def plan(self, vertex: Vertex, op: SourceOp) -> KeyPlan:
        return source_plan(vertex, "http", *self._sources.file(op).identity)

    def load(self, vertex: Vertex, op: SourceOp) -> Result:
        del vertex
        return layer_of(self._snapshots, self._sources.items(self._sources.file(op)))


class GitSource:
    """`git://...`: identified by the commit, the part of it that is wanted, and how."""

    def __init__(self, sources: GitSources, snapshots: Snapshots) -> None:
        self._sources = sources
        self._snapshots = snapshots
        self._lock = threading.Lock()
        self._commits: dict[SourceOp, str] = {}

    def plan(self, vertex: Vertex, op: SourceOp) -> KeyPlan:
        how = [f"{name}={value}" for name, value in op.attrs if not name.startswith("git.auth")]
        return source_plan(vertex, "git", self._commit(op), request_of(op).subdir, *how)

    def load(self, vertex: Vertex, op: SourceOp) -> Result:
        del vertex
        with self._sources.checkout(op, self._commit(op)) as checkout:
            return layer_of(self._snapshots, fileop.whole(checkout.tree))

    def _commit(self, op: SourceOp) -> str:
        """A build sees one commit of a branch, however often it asks."""
        with self._lock:
            if op not in self._commits:
                self._commits[op] = self._sources.commit(op)
            return self._commits[op]


def layer_of(snapshots: Snapshots, items: Iterable[Item]) -> Snapshot:
    return Snapshot((snapshots.add_layer(items),))
