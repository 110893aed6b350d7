"""Which files of each new layer come first, and why: used by steps, or by starting the image."""

from collections import defaultdict

from lazybuild.build.trace import Uses
from lazybuild.oci.image import ContainerConfig
from lazybuild.snapshots.closure import closure
from lazybuild.snapshots.manager import Snapshot, Snapshots


class Order:
    """The prioritised names of the layers of one snapshot."""

    def __init__(
        self, uses: Uses, snapshots: Snapshots, snapshot: Snapshot, config: ContainerConfig
    ) -> None:
        self._uses = uses
        self._snapshots = snapshots
        self._snapshot = snapshot
        self._config = config
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
            config = self._config
            argv = [*(config.entrypoint or ()), *(config.cmd or ())]
            tree = self._snapshots.tree(self._snapshot)
            names = closure(tree, argv, config.env, config.working_dir or "/")
            self._started = self._by_layer(names)
        return self._started

    def _by_layer(self, names: list[str]) -> dict[str, list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        trees = {layer: self._snapshots.layer_tree(layer) for layer in self._snapshot.layers}
        for name in names:
            owners = (layer for layer in reversed(trees) if trees[layer].lookup(name))
            owner = next(owners, None)
            if owner is not None:
                found[owner].append(name)
        return found
