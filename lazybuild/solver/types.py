"""What the solver asks of the rooms it does not know: keys, runs, and where results stay.

`R` is a result: to the solver it is a thing to hand on, nothing more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from lazybuild.llb.graph import Vertex

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A part of an input's tree that a key depends on by content.

    `fingerprint` names the selection itself (paths, patterns) and `paths` is for the op's own use.
    """

    fingerprint: str
    paths: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlan:
    """How the cache key of a vertex is made.

    `digest` stands for the op itself; `inputs` has an item for each input of the vertex: None takes
    the input's own key (by definition), a Selection the digest of that content.
    `stable` False: the result is outside the cache (a directory of the host), its key of no use.
    """

    digest: str
    inputs: tuple[Selection | None, ...] = ()
    stable: bool = True


class Ops(Protocol[R]):
    """What the ops mean. All methods are called from many threads."""

    def plan(self, vertex: Vertex) -> KeyPlan: ...

    def content(self, vertex: Vertex, index: int, selection: Selection, result: R) -> str:
        """The digest of the selected content of `result`, which is input `index` of `vertex`."""
        ...

    def run(self, vertex: Vertex, inputs: Sequence[R]) -> R: ...


class Cache(Protocol[R]):
    """Where results outlive a build. A cache that fails is a cache that misses."""

    def load(self, key: str, vertex: Vertex) -> R | None: ...

    def holds(self, key: str) -> bool:
        """Whether `load` is likely to find it; nothing is fetched for the answer."""
        ...

    def save(self, key: str, vertex: Vertex, result: R) -> None: ...

    def memo(self, key: str) -> str | None: ...

    def save_memo(self, key: str, value: str) -> None: ...
