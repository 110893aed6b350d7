"""Trees over one another: all layers in order, and not without end."""

import pytest

from lazybuild.errors import BuildError
from lazybuild.snapshots.manager import Snapshot
from lazybuild.worker.worker import MAX_LAYERS, merge


def test_a_merge_keeps_every_layer_in_its_place():
    assert merge([Snapshot(("a", "b")), Snapshot(("a", "c"))]) == Snapshot(("a", "b", "a", "c"))


def test_merges_of_merges_come_to_an_end():
    made = Snapshot(("a",))
    while len(made.layers) < MAX_LAYERS:
        made = merge([made, made])
    with pytest.raises(BuildError, match=f"more than {MAX_LAYERS} layers"):
        merge([made, made])
