"""What a solve will have to do, told beforehand and without doing anything. Engine; knows no op."""

from collections.abc import Callable, Iterator

from lazybuild.llb.graph import Vertex
from lazybuild.solver.types import Cache, KeyPlan, Ops, R, Selection


class Forecast:
    """`key` gives the key of a vertex, and may only be asked for those that are plain. `memo` is
    the name under which the cache has the digest of a content.
    """

    def __init__(
        self,
        ops: Ops[R],
        cache: Cache[R],
        key: Callable[[Vertex], str],
        memo: Callable[[Vertex, Selection], str],
    ) -> None:
        self._plan: Callable[[Vertex], KeyPlan] = ops.plan
        self._missing: Callable[[Vertex], bool] = lambda it: not cache.holds(key(it))
        self._unknown: Callable[[Vertex, Selection], bool] = lambda it, part: (
            cache.memo(memo(it, part)) is None
        )
        self._plain: dict[str, bool] = {}

    def runs(self, vertex: Vertex) -> bool | None:
        """Whether a vertex has to run, if it is wanted; None when only running another tells."""
        if vertex.options.ignore_cache:
            return True
        return self._missing(vertex) if self.is_plain(vertex) else None

    def beside(self, vertex: Vertex) -> Iterator[Vertex]:
        """The inputs that have to run, while the key of the vertex waits for another's content.

        That one runs as well; when it has, these would be next, unless the content is an old one.
        """
        pairs = list(zip(vertex.inputs, self._plan(vertex).inputs, strict=False))
        if any(part and self._waits(edge.vertex, part) for edge, part in pairs):
            for edge, part in pairs:
                if part is None and self.runs(edge.vertex):
                    yield edge.vertex

    def is_plain(self, vertex: Vertex) -> bool:
        """Whether the key of a vertex, and of all it needs, is made without the content of results.
        What the host has is no result.
        """
        known = self._plain.get(vertex.digest)
        if known is None:
            known = self._plain[vertex.digest] = self._looks_plain(vertex)
        return known

    def _looks_plain(self, vertex: Vertex) -> bool:
        parts = self._plan(vertex).inputs or (None,) * len(vertex.inputs)
        return all(
            self.is_plain(edge.vertex) and (part is None or not self._plan(edge.vertex).stable)
            for edge, part in zip(vertex.inputs, parts, strict=True)
        )

    def _waits(self, vertex: Vertex, part: Selection) -> bool:
        """Whether the content of a vertex is known to nobody before it has run."""
        if not self._plan(vertex).stable or not self.is_plain(vertex):
            return False
        return self._unknown(vertex, part) and self._missing(vertex)
