"""The builders of one command: who takes the next build, and who is away. Decides; dials nobody."""

import threading
from collections import defaultdict
from collections.abc import Sequence

from lazybuild.errors import LazybuildError
from lazybuild.events import Sink, Warned
from lazybuild.request import Builder

Work = frozenset[str]
"""The steps of a build; those that builds have in common have the same name."""


class Crew:
    """Safe in threads."""

    def __init__(self, builders: Sequence[Builder], sink: Sink) -> None:
        self.builders = builders
        self._sink = sink
        self._lock = threading.Lock()
        self._under_way = defaultdict[Builder, list[Work]](list)
        self._known = defaultdict[Builder, set[str]](set)
        self._away: set[Builder] = set()

    def spread(self, works: Sequence[Work]) -> list[Builder]:
        """As `take` for each, the largest first, since small ones fill what is left best."""
        order = sorted(range(len(works)), key=lambda number: -len(works[number]))
        found = {number: self.take(works[number]) for number in order}
        return [found[number] for number in range(len(works))]

    def take(self, work: Work) -> Builder:
        """The builder that is through with the work soonest, where it need not repeat much of what
        another one does.
        """
        with self._lock:
            there = [one for one in self.builders if one not in self._away] or self.builders
            builder = min(there, key=lambda one: self._cost(one, work))
            self._under_way[builder].append(work)
            self._known[builder] |= work
            return builder

    def free(self, builder: Builder, work: Work) -> None:
        """A build that took it is over."""
        with self._lock:
            self._under_way[builder].remove(work)

    def _cost(self, builder: Builder, work: Work) -> int:
        """In steps: those until it is done, and once more those that it would not have without."""
        new = len(work - self._known[builder])
        load = len(set[str]().union(*self._under_way[builder]))
        return load + new + new if new else 0

    def lost(self, builder: Builder, error: LazybuildError) -> bool:
        """Give a builder up because of `error`; whether another one is left."""
        with self._lock:
            new = builder not in self._away
            self._away.add(builder)
            left = len(self._away) < len(self.builders)
        if new and left:
            text = f"{error.message}: its builds go to the other builders"
            self._sink(Warned(message=text))
        return left
