"""Mounts the bases of other stages while the first step runs, so that their latency is not added to
its end.

The solver asks for a base when it needs it, which for `FROM runtime` with `COPY --from=build` is
after the build stage. A base is mounted early when a step that stands right on it will have to
run, as far as that can be told without running anything. Nothing here makes a build fail.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from lazybuild.build.lowers import Lowers
from lazybuild.errors import LazybuildError
from lazybuild.events import Noted, Sink
from lazybuild.linux.shortage import begun
from lazybuild.llb.graph import Vertex, walk
from lazybuild.llb.ops import SourceOp
from lazybuild.oci import reference
from lazybuild.sources.images import Images
from lazybuild.store import Layer, Store

SCHEME = "docker-image://"
PARALLEL = 8
END_SECONDS = 5.0


class Bases:
    """`plan` when the graph is known, `begin` once a step really runs, `end` after the last."""

    def __init__(self, store: Store, images: Images, lowers: Lowers, sink: Sink) -> None:
        self._store = store
        self._images = images
        self._lowers = lowers
        self._sink = sink
        self._lock = threading.Lock()
        self._find: Callable[[], list[Vertex]] | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def plan(self, heads: Sequence[Vertex], runs: Callable[[Vertex], bool | None]) -> None:
        """`runs` tells whether a step has to run, None when nobody can know yet."""
        self._find = lambda: needed(heads, runs)

    def begin(self) -> None:
        """Once, in the background."""
        with self._lock:
            if self._thread is not None or self._find is None:
                return
            thread = threading.Thread(target=self._mount, name="bases", daemon=True)
            self._thread = thread if begun(thread) else None

    def end(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(END_SECONDS)

    def _mount(self) -> None:
        try:
            layers = [layer for source in self._wanted() for layer in self._layers(source)]
            with ThreadPoolExecutor(PARALLEL, "bases") as pool:
                list(pool.map(self._lowers.folder, layers))
        except LazybuildError as error:
            if not self._ended.is_set():
                self._sink(Noted(message=f"a base is not mounted ahead: {error.message}"))

    def _wanted(self) -> list[Vertex]:
        return self._find() if self._find is not None else []

    def _layers(self, source: Vertex) -> Sequence[Layer]:
        if not isinstance(source.op, SourceOp):
            return ()
        image = self._images.load(reference.parse(source.op.identifier.removeprefix(SCHEME)))
        found = map(self._store.meta.layer, self._images.snapshot(image).layers)
        return [layer for layer in found if layer is not None and not layer.directory]


def needed(heads: Sequence[Vertex], runs: Callable[[Vertex], bool | None]) -> list[Vertex]:
    """The images of some graphs that a step stands on which will run, or may."""
    found = {vertex.digest: vertex for head in heads for vertex in walk(head)}
    standing: defaultdict[str, list[Vertex]] = defaultdict(list)
    for vertex in found.values():
        for edge in vertex.inputs:
            standing[edge.vertex.digest].append(vertex)
    return [
        vertex
        for vertex in found.values()
        if is_image(vertex) and any(runs(step) is not False for step in standing[vertex.digest])
    ]


def is_image(vertex: Vertex) -> bool:
    return isinstance(vertex.op, SourceOp) and vertex.op.identifier.startswith(SCHEME)
