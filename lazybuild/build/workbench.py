"""What the targets of one solve have in common: snapshots, lower layers, caches to take from.

Steps are seen to use files here too, so that a layer which several targets have is written in the
order that all of them want.
"""

from collections.abc import Sequence

from lazybuild.build.accesses import Accesses
from lazybuild.build.ahead import OFF, Ahead
from lazybuild.build.bases import Bases
from lazybuild.build.caches import base_layers, place_of
from lazybuild.build.labels import Announcer
from lazybuild.build.lowers import Lowers
from lazybuild.build.sharing import Sharing
from lazybuild.build.space import Space
from lazybuild.build.trace import Trace
from lazybuild.exchange import imports
from lazybuild.exchange.imports import Imported, ImportedRecords
from lazybuild.llb.graph import Vertex
from lazybuild.oci.digest import Digest
from lazybuild.request import BuildRequest, Pull
from lazybuild.snapshots.manager import Snapshots
from lazybuild.solver.report import Reporter
from lazybuild.sources.images import Images


class Workbench:
    """One for each solve. Profiles and how bases are treated are what the first request says: a
    command line has them once.
    """

    def __init__(self, space: Space, requests: Sequence[BuildRequest]) -> None:
        self._space = space
        self._requests = requests
        first = requests[0]
        self.announcer = Announcer(space.sink)
        self.reporter = Reporter(self.announcer)
        self.lowers = Lowers(
            space,
            require_lazy=first.require_lazy,
            allow_unverified=first.allow_unverified,
            keep_blobs=first.convert_base,
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
        never = first.pull is Pull.NEVER
        self._images = Images(
            space.store, space.registry, pull=Pull.NEVER if never else Pull.MISSING
        )
        self._accesses = Accesses(space)
        self.ahead = Ahead(
            space,
            self._accesses,
            source=first.profile_from or (OFF if never else ""),
            background=first.background_fetch,
        )
        self.early = Bases(space.store, self._images, self.lowers, space.sink)
        self.trace = Trace(
            space,
            self.snapshots,
            self._accesses,
            self.ahead,
            ordered=False,
            begun=self.early.begin,
            bases=first.convert_base,
        )
        self._imports: list[Imported] | None = None
        self.bases: dict[Digest, None] = {}

    def sharing(self) -> Sharing:
        """Pushes access profiles while the context holds."""
        target = self._requests[0].profile_to
        return Sharing(self._space, self._accesses, self.ahead, self._images, target=target)

    def renew(self) -> None:
        """Another lazy file system in place of one that is gone."""
        self._space.renew_lazy()
        self.snapshots.forget_mounted()

    def records(self, heads: Sequence[Vertex]) -> ImportedRecords:
        """The solver's cache for some graphs; imports are read once."""
        if self._imports is None:
            self._imports = self._read_imports()
        if self._imports or any(request.cache_to for request in self._requests):
            for head in heads:
                self.bases |= dict.fromkeys(base_layers(self._images, head))
        space = self._space
        return ImportedRecords(space.store, self._imports, self.bases, space.ranges, space.sink)

    def _read_imports(self) -> list[Imported]:
        specs = dict.fromkeys(spec for request in self._requests for spec in request.cache_from)
        places = [place_of(self._space, spec) for spec in specs]
        strict = any(request.cache_strict for request in self._requests)
        return imports.read_all(places, self._space.sink, strict=strict)
