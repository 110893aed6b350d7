"""Layers of a result hold no time later than its epoch, wherever they come from.

A step that an earlier build ran, one with another epoch or none, left its layer with other times.
The cache goes on with that layer; the image gets one like it whose times are lowered.
"""

from collections.abc import Callable, Sequence

from lazybuild.build.engine import Engine
from lazybuild.build.space import Space
from lazybuild.events import Warned
from lazybuild.snapshots.diff import layer_items
from lazybuild.snapshots.tree import LayerTree, walk
from lazybuild.store import Layer

MEMO = "dated"
_NANO = 1_000_000_000

# Names and where they are from.
Hot = Callable[[], tuple[Sequence[str], Sequence[str]]]


def dated(space: Space, engine: Engine, layer_id: str, hot: Hot) -> Layer:
    """The layer, or one like it with times that are not too late, the names of `hot` first."""
    epoch, layer = engine.options.epoch, engine.snapshots.layer(layer_id)
    if epoch is None or layer.toc_digest is None:
        return layer
    meta, key = space.store.meta, f"{layer_id} {epoch}"
    known = meta.layer(meta.memo_get(MEMO, key) or "")
    if known is not None:
        return known
    tree = engine.snapshots.layer_tree(layer_id)
    if not _is_later(tree, epoch):
        return layer
    items = layer_items(tree, lambda message: space.sink(Warned(message=message)))
    made = engine.snapshots.add_layer(items, hot()[0], engine.options)
    meta.memo_put(MEMO, key, made)
    return engine.snapshots.layer(made)


def _is_later(tree: LayerTree, epoch: int) -> bool:
    return any(node.mtime > epoch * _NANO for path, node in walk(tree) if path)
