"""Targets whose files were read, each with the listener that its steps are told to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lazybuild.build import inputs
from lazybuild.build.collect import Collector, task
from lazybuild.build.compiling import distinct
from lazybuild.build.inputs import Inputs
from lazybuild.build.labels import labelled
from lazybuild.dockerfile import sensitive
from lazybuild.events import Sink
from lazybuild.request import BuildRequest, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """`events` is the target's listener."""

    target: Target
    given: Inputs
    events: Collector

    @property
    def request(self) -> BuildRequest:
        return self.target.request


def read_target(
    target: Target, sink: Sink, taken: dict[str, Path], check: Callable[[Inputs], object]
) -> Read:
    """`check` raises for what can't be built where it is wanted; `taken` as for `distinct`."""
    hidden = sensitive.values([target.request.build_args])
    events = Collector(labelled(sink, target.name), hidden)
    with task(events, "[internal] load build definition"):
        given = distinct(inputs.read(target.request), target.name, taken)
        check(given)
    return Read(target=target, given=given, events=events)
