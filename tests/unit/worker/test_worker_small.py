"""Merges, which are not without end, outputs of ops, names of vertices."""

import pytest

from lazybuild.errors import BuildError
from lazybuild.llb.graph import Vertex, VertexOptions
from lazybuild.llb.ops import ExecOp, MergeOp, Meta, SourceOp
from lazybuild.snapshots.snapshot import Snapshot, together
from lazybuild.worker.worker import MAX_LAYERS, merge


def test_a_merge_keeps_every_layer_in_its_place():
    assert merge([Snapshot(("a", "b")), Snapshot(("a", "c"))]) == Snapshot(("a", "b", "a", "c"))


def test_merges_of_merges_come_to_an_end():
    made = Snapshot(("a",))
    while len(made.layers) < MAX_LAYERS:
        made = merge([made, made])
    with pytest.raises(BuildError, match=f"more than {MAX_LAYERS} layers"):
        merge([made, made])


def test_a_vertex_without_a_name_is_called_by_what_it_is_of_or_does():
    assert Vertex(op=SourceOp(identifier="https://a.test/x")).name == "https://a.test/x"
    assert Vertex(op=ExecOp(meta=Meta(args=("make", "all")), mounts=())).name == "make all"
    assert Vertex(op=MergeOp(), options=VertexOptions(name="both")).name == "both"


def test_each_output_of_an_op_stands_alone():
    made = together([Snapshot(("a",)), Snapshot(("b", "c"))])
    assert made.output(0) == Snapshot(("a",))
    assert made.output(1) == Snapshot(("b", "c"))
    assert Snapshot(("a",)).output(0) == Snapshot(("a",))
