"""The caches of a build: what it takes from other machines, and what it gives to them.

Puts `exchange` together with the solver, the store and the registry; one for each build.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lazybuild.build.collect import task
from lazybuild.build.space import Space
from lazybuild.errors import BuildError, LazybuildError
from lazybuild.events import Warned
from lazybuild.exchange import document, exports, imports
from lazybuild.exchange.exports import Mode, Step
from lazybuild.exchange.imports import Imported, ImportedRecords
from lazybuild.exchange.parallel import all_of
from lazybuild.exchange.places import DirectoryPlace, Place, RegistryPlace
from lazybuild.llb.graph import Vertex, walk
from lazybuild.llb.ops import SourceOp
from lazybuild.oci import reference
from lazybuild.oci.digest import Digest
from lazybuild.request import BuildRequest, CacheSpec
from lazybuild.snapshots.manager import Snapshot
from lazybuild.solver.solve import Solver
from lazybuild.sources.images import Images
from lazybuild.store import Layer
from lazybuild.worker.services import Result, scheme

INLINE_ARG = "BUILDKIT_INLINE_CACHE"

# Writes the blob of a layer that has none yet.
WriteBlob = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """A graph that was solved, and what the solver and its cache know of it."""

    head: Vertex
    final: Snapshot
    solver: Solver[Result]
    records: ImportedRecords

    def key_of(self, vertex: Vertex) -> str | None:
        return self.solver.known_key(vertex)

    def result_of(self, key: str, vertex: Vertex) -> object:
        return self.records.load(key, vertex)

    def steps(self) -> list[Step]:
        return exports.steps(self, walk(self.head))


class Caches:
    """Imports are read once, when the first graph is solved."""

    def __init__(self, space: Space, request: BuildRequest, images: Images) -> None:
        self._space = space
        self._request = request
        self._images = images
        self._imports: list[Imported] | None = None
        self._bases: dict[Digest, None] = {}
        self.solved: list[Solved] = []

    # --- what it takes ---------------------------------------------------------------------------

    def records(self, head: Vertex) -> ImportedRecords:
        """The solver's cache for a graph."""
        if self._imports is None:
            places = [place_of(self._space, spec) for spec in self._request.cache_from]
            strict = self._request.cache_strict
            self._imports = imports.read_all(places, self._space.sink, strict=strict)
        if self._imports or self._request.cache_to:
            self._bases |= dict.fromkeys(self._base_layers(head))
        store = self._space.store
        return ImportedRecords(
            store, self._imports, self._bases, self._space.ranges, self._space.sink
        )

    def _base_layers(self, head: Vertex) -> Iterator[Digest]:
        """The layers of the images that a graph starts from; the store knows them from here on."""
        for vertex in walk(head):
            if isinstance(vertex.op, SourceOp) and scheme(vertex.op) == "docker-image":
                ref = reference.parse(vertex.op.identifier.partition("://")[2])
                if ref.digest:
                    image = self._images.load(ref)
                    self._images.snapshot(image)
                    yield from (item.digest for item in image.manifest.layers)

    # --- what it gives ---------------------------------------------------------------------------

    def keep(self, solved: Solved) -> None:
        self.solved.append(solved)

    def inline(self, snapshot: Snapshot) -> Mapping[str, object]:
        """What goes into the config of the image that `snapshot` becomes."""
        wanted = any(spec.type == "inline" for spec in self._request.cache_to)
        if not wanted and self._request.build_args.get(INLINE_ARG) != "1":
            return {}
        for solved in self.solved:
            if solved.final == snapshot:
                found = exports.inline(solved.steps(), snapshot, solved.records.used_memos)
                return document.inline(found)
        return {}

    @contextmanager
    def exporting(self, write_blob: WriteBlob) -> Iterator[None]:
        """Write every cache while the block delivers the image, or after it when no thread may be
        started yet.
        """
        tasks = [partial(self._guarded, spec, write_blob) for spec in self._outgoing()]
        if self._space.inside and tasks:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - seldom wanted

            with ThreadPoolExecutor(max_workers=1) as pool:
                future = pool.submit(all_of, tasks)
                yield
            future.result()
            return
        yield
        for one in tasks:
            one()

    def _outgoing(self) -> list[CacheSpec]:
        return [spec for spec in self._request.cache_to if spec.type != "inline"]

    def _guarded(self, spec: CacheSpec, write_blob: WriteBlob) -> None:
        place = place_of(self._space, spec)
        strict = self._request.cache_strict or spec.strict
        with task(self._space.sink, f"exporting cache to {place.title}"):
            try:
                export = self._assembled(Mode(spec.mode), write_blob)
            except LazybuildError as error:
                if strict:
                    raise
                message = f"cache {place.title} was not written: {error.message}"
                self._space.sink(Warned(message=message))
                return
            exports.write(export, place, self._space.sink, strict=strict)

    def _assembled(self, mode: Mode, write_blob: WriteBlob) -> exports.Export:
        chosen = [
            step
            for solved in self.solved
            for step in exports.chosen(solved.steps(), solved.final, mode)
        ]
        memos = {k: v for solved in self.solved for k, v in solved.records.used_memos.items()}
        for name in dict.fromkeys(name for step in chosen for name in step.snapshot.layers):
            write_blob(name)
        return exports.assemble(chosen, memos, self._layer, self._bases)

    def _layer(self, layer_id: str) -> Layer:
        found = self._space.store.meta.layer(layer_id)
        if found is None:
            raise BuildError(f"layer {layer_id} is no longer in the store")
        return found


def place_of(space: Space, spec: CacheSpec) -> Place:
    if spec.type == "local":
        folder = Path(spec.place)
        return DirectoryPlace(folder, spec.tag, space.store, space.blob_stream, spec.digest)
    return RegistryPlace(space.registry, reference.parse(spec.place), space.store)
