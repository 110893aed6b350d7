"""What a frontend has solved, by ref: graphs, bounded in number and size. Safe in threads."""

import secrets
import threading
from collections.abc import Mapping

from lazybuild.errors import BuildError
from lazybuild.llb.graph import Edge
from lazybuild.wire.asked import Graph, MissingError

MAX_REFS = 4096
MAX_BYTES = 64 << 20


class Refs:
    """A ref can't be guessed, and "" is an empty file system."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._graphs: dict[str, Edge] = {}
        self._bytes = 0
        self._sources: dict[str, bytes] = {}

    def add(self, graph: Graph) -> str:
        if graph.head is None:
            return ""
        ref = secrets.token_hex(12)
        with self._lock:
            self._bytes += graph.size
            if len(self._graphs) >= MAX_REFS or self._bytes > MAX_BYTES:
                raise BuildError(
                    f"the frontend solves more than {MAX_REFS} graphs or {MAX_BYTES >> 20} MiB"
                )
            self._graphs[ref] = graph.head
            self._sources |= graph.sources
        return ref

    def get(self, ref: str) -> Edge | None:
        """The graph, None for an empty file system."""
        if not ref:
            return None
        with self._lock:
            found = self._graphs.get(ref)
        if found is None:
            raise MissingError(f"no ref is called {ref[:80]!r}")
        return found

    def sources(self) -> Mapping[str, bytes]:
        """The files that spans of the graphs point into."""
        with self._lock:
            return dict(self._sources)
