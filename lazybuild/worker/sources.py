"""Images and directories as the solver sees them: what identifies each, how it becomes a result."""

from collections.abc import Callable

from lazybuild.llb.graph import Vertex
from lazybuild.llb.ops import SourceOp
from lazybuild.oci import platform, reference
from lazybuild.oci.reference import Reference
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.solver.types import KeyPlan
from lazybuild.sources.images import Images
from lazybuild.sources.local import LocalSources
from lazybuild.worker.keys import source_plan
from lazybuild.worker.services import Result


class ImageSource:
    """`docker-image://NAME@DIGEST`: identified by the digest, wherever it comes from. What is made
    of layers that were read unverified is no result for a build that wants them verified. `begin`
    is told of each that is loaded, so that its layers can be made ready for the steps over it.
    """

    def __init__(
        self, images: Images, begin: Callable[[Snapshot], None], *, unverified: bool = False
    ) -> None:
        self._images = images
        self._begin = begin
        self._how = ("unverified",) if unverified else ()

    def plan(self, vertex: Vertex, op: SourceOp) -> KeyPlan:
        return source_plan(vertex, "image", self._pinned(vertex, op).digest or "", *self._how)

    def load(self, vertex: Vertex, op: SourceOp) -> Result:
        snapshot = self._images.snapshot(self._images.load(self._pinned(vertex, op)))
        self._begin(snapshot)
        return snapshot

    def _pinned(self, vertex: Vertex, op: SourceOp) -> Reference:
        ref = reference.parse(op.identifier.partition("://")[2])
        if ref.digest:
            return ref
        want = vertex.platform
        found = platform.host() if want is None else platform.parse(str(want))
        return self._images.find(ref, found).reference


class LocalSource:
    """`local://NAME`: looked at in each build; what is copied of it counts by content."""

    def __init__(self, sources: LocalSources) -> None:
        self._sources = sources

    def plan(self, vertex: Vertex, op: SourceOp) -> KeyPlan:
        del vertex
        return KeyPlan(digest=op.identifier, stable=False)

    def load(self, vertex: Vertex, op: SourceOp) -> Result:
        del vertex
        return self._sources.tree(op)
