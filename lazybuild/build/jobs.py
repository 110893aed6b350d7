"""Targets on their way from request to result, and whose fault an error is. Values."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from lazybuild.build.collect import Collector
from lazybuild.build.engine import Engine
from lazybuild.build.inputs import Inputs
from lazybuild.build.space import Space
from lazybuild.dockerfile.options import Compiled
from lazybuild.errors import LazybuildError
from lazybuild.exporters.attestation import Predicate
from lazybuild.llb.graph import Vertex, walk
from lazybuild.request import BuildRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One image of a target, that for one platform, and what its frontend states of it."""

    compiled: Compiled
    stated: tuple[Predicate, ...] = ()

    @property
    def heads(self) -> tuple[Vertex, ...]:
        """None when the image is empty."""
        return (self.compiled.head.vertex,) if self.compiled.head else ()


@dataclass(slots=True, kw_only=True)
class Job:
    """A target under way. `space` tells its own listener; `parts` come when it is compiled.
    `names` are what its directories are called among all targets, where its graph does not know.
    """

    name: str
    request: BuildRequest
    given: Inputs
    events: Collector
    space: Space
    engine: Engine
    names: Mapping[str, str] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)

    @property
    def heads(self) -> list[Vertex]:
        return [head for part in self.parts for head in part.heads]


@contextmanager
def located(job: Job) -> Iterator[None]:
    """An error in here is the target's."""
    try:
        yield
    except LazybuildError as error:
        _fill(job, error)
        raise


def blame(jobs: Sequence[Job], error: LazybuildError) -> None:
    """Find the target that an error of the solve belongs to: the first that has the step."""
    for job in jobs:
        vertices = {vertex.digest for head in job.heads for vertex in walk(head)}
        if len(jobs) == 1 or error.vertex in vertices:
            _fill(job, error)
            return


def _fill(job: Job, error: LazybuildError) -> None:
    """A frontend image knows its file by the name alone, which several targets may have."""
    own, span = job.given.title or job.given.path, error.span
    if span is not None and job.given.frontend is not None and span.path == PurePath(own).name:
        error.span = replace(span, path=own)
    if error.span is None or error.span.path == own:
        error.source = error.source or job.given.source
    error.target = error.target or job.name
