"""What a step leaves behind, as the solver and the cache hold it: the ids of layers. Values."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A file system: layer ids, bottom first; none is scratch. `beside` are those that the same op
    has made with it, its outputs from 1 on.
    """

    layers: tuple[str, ...] = ()
    beside: tuple["Snapshot", ...] = ()

    def over(self, layer: str) -> "Snapshot":
        return Snapshot((*self.layers, layer))

    def output(self, number: int) -> "Snapshot":
        """One output alone of the op that made this."""
        return self.beside[number - 1] if number else Snapshot(self.layers)


def together(made: Sequence[Snapshot]) -> Snapshot:
    """The outputs of one op, in order."""
    first, *others = made
    return Snapshot(first.layers, tuple(others))
