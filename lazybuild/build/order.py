"""Which files of each new layer come first, and why: used by steps, or by starting the image."""

from collections import defaultdict

from lazybuild.build.trace import Uses
from lazybuild.snapshots.closure import Start, closure
from lazybuild.snapshots.manager import Snapshots
from lazybuild.snapshots.snapshot import Snapshot


class Order:
    """The prioritised names of the layers of one snapshot."""

    def __init__(
        self,
        uses: Uses,
        snapshots: Snapshots,
        snapshot: Snapshot,
        start: Start,
        *,
        bases: bool = False,
    ) -> None:
        self._uses = uses
        self._snapshots = snapshots
        self._snapshot = snapshot
        self._how = start
        self._bases = bases
        self._started: dict[str, list[str]] | None = None

    def of(self, layer_id: str) -> tuple[list[str], tuple[str, ...]]:
        """The names in order, and where they come from: "run", "entrypoint"."""
        seen, start = self._uses.of(layer_id), self._start().get(layer_id, [])
        names = self._present(layer_id, [*seen, *start])
        kinds = (("run", seen), ("entrypoint", start))
        return names, tuple(kind for kind, found in kinds if found)

    def _present(self, layer_id: str, names: list[str]) -> list[str]:
        tree = self._snapshots.layer_tree(layer_id)
        return [name for name in dict.fromkeys(names) if tree.lookup(name) is not None]

    def _start(self) -> dict[str, list[str]]:
        """What starting the image reads, by the layer that has it."""
        if self._started is None:
            tree = self._snapshots.tree(self._snapshot)
            self._started = self._by_layer(closure(tree, self._how, self._is_new))
        return self._started

    def _by_layer(self, names: list[str]) -> dict[str, list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for name in names:
            owner = self._owner(name)
            if owner:
                found[owner].append(name)
        return found

    def _owner(self, name: str) -> str:
        layers = reversed(self._snapshot.layers)
        return next((id_ for id_ in layers if self._snapshots.layer_tree(id_).lookup(name)), "")

    def _is_new(self, name: str) -> bool:
        """Programs of a base are not looked into: that would fetch them, for the order of nothing
        that is written here.
        """
        owner = self._owner(name)
        return bool(owner) and (self._bases or not self._snapshots.layer(owner).origins)
