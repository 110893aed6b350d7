"""The caches that a target gives to other machines, and what is kept of its solved graphs for that.

Puts `exchange` together with the solver, the store and the registry. What is taken from other
machines is the workbench's to read: it serves all targets.
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
from lazybuild.exchange import document, exports
from lazybuild.exchange.exports import Mode, Step
from lazybuild.exchange.imports import ImportedRecords
from lazybuild.exchange.parallel import all_of
from lazybuild.exchange.places import DirectoryPlace, Place, RegistryPlace
from lazybuild.llb.graph import Vertex, walk
from lazybuild.llb.ops import SourceOp
from lazybuild.oci import reference
from lazybuild.oci.digest import Digest
from lazybuild.request import BuildRequest, CacheSpec
from lazybuild.snapshots.snapshot import Snapshot
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

    def layer_ids(self) -> set[str]:
        """The layers of all results that the graph's vertices have in this solve."""
        found = (self.solver.peek(vertex) for vertex in walk(self.head))
        return {name for result in found if isinstance(result, Snapshot) for name in result.layers}


class Caches:
    """What one target gives to other machines."""

    def __init__(self, space: Space, request: BuildRequest, images: Images) -> None:
        self._space = space
        self._request = request
        self._images = images
        self._bases: dict[Digest, None] = {}
        self.solved: list[Solved] = []

    def keep(self, solved: Solved) -> None:
        """One of the target's graphs has its result."""
        self.solved.append(solved)
        if self._request.cache_to:
            self._bases |= dict.fromkeys(base_layers(self._images, solved.head))

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


def base_layers(images: Images, head: Vertex) -> Iterator[Digest]:
    """The layers of the images that a graph starts from; the store knows them from here on."""
    for vertex in walk(head):
        if isinstance(vertex.op, SourceOp) and scheme(vertex.op) == "docker-image":
            ref = reference.parse(vertex.op.identifier.partition("://")[2])
            if ref.digest:
                image = images.load(ref)
                images.snapshot(image)
                yield from (item.digest for item in image.manifest.layers)


def place_of(space: Space, spec: CacheSpec) -> Place:
    if spec.type == "local":
        folder = Path(spec.place)
        return DirectoryPlace(folder, spec.tag, space.store, space.blob_stream, spec.digest)
    return RegistryPlace(space.registry, reference.parse(spec.place), space.store)
