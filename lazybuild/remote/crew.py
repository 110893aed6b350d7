"""The builders of one command: who takes the next build, and who is away. Decides; dials nobody."""

import threading
from collections import Counter
from collections.abc import Sequence

from lazybuild.errors import LazybuildError
from lazybuild.events import Sink, Warned
from lazybuild.request import Builder


class Crew:
    """Safe in threads."""

    def __init__(self, builders: Sequence[Builder], sink: Sink) -> None:
        self.builders = builders
        self._sink = sink
        self._lock = threading.Lock()
        self._load = Counter[Builder]()
        self._away: set[Builder] = set()
        self._of_group: dict[str, Builder] = {}

    def take(self, group: str) -> Builder:
        """The builder with the fewest builds of ours. Builds of one group have the same."""
        with self._lock:
            builder = self._chosen(group)
            self._load[builder] += 1
            return builder

    def free(self, builder: Builder) -> None:
        """A build that took it is over."""
        with self._lock:
            self._load[builder] -= 1

    def _chosen(self, group: str) -> Builder:
        known = self._of_group.get(group)
        if known is None or known in self._away:
            there = [one for one in self.builders if one not in self._away] or self.builders
            known = self._of_group[group] = min(there, key=lambda one: self._load[one])
        return known

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
