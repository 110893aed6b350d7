"""Where layers begin and end in a graph, and how one that was written is told of."""

import pytest
from support.dockerfiles import compiled, digest_of

from frontend.layers import WrittenLayer, from_json, stack, to_json
from lazybuild.errors import IntegrityError
from lazybuild.llb.graph import Edge, Vertex
from lazybuild.llb.ops import DiffOp, FileOp, MergeOp, SourceOp
from lazybuild.oci.descriptor import OCI_LAYER_GZIP, Descriptor
from lazybuild.oci.digest import DiffID


def stack_of(text):
    return stack(compiled(text).head)


def test_each_step_over_the_base_makes_a_layer():
    found = stack_of("FROM debian AS a\nRUN one\nWORKDIR /w\nFROM a\nRUN two\nCOPY x /\n")
    names = [top.vertex.options.name for top in found.tops]
    assert [name.partition("] ")[2] for name in names] == [
        "RUN one",
        "WORKDIR /w",
        "RUN two",
        "COPY x /",
    ]
    assert found.base.vertex.op.identifier.startswith("docker-image://")
    assert found.below == (found.base, *found.tops[:-1])


def test_scratch_is_no_base():
    found = stack_of("FROM scratch\nCOPY a /\nCOPY b /\n")
    assert found.base is None
    assert len(found.tops) == 2
    assert found.below == (None, found.tops[0])


def test_a_linked_copy_is_one_layer():
    found = stack_of("FROM debian\nRUN one\nCOPY --link a /\n")
    assert [type(top.vertex.op).__name__ for top in found.tops] == ["ExecOp", "MergeOp"]
    assert isinstance(found.tops[1].vertex.op, MergeOp)


def test_an_image_alone_has_no_layers_of_the_build():
    found = stack_of("FROM debian\n")
    assert found.tops == ()
    assert found.below == ()


def test_actions_of_one_op_are_one_layer():
    found = stack_of("FROM scratch\nCOPY a b /d/\n")
    assert isinstance(found.tops[0].vertex.op, FileOp)
    assert len(found.tops[0].vertex.op.actions) == 2
    assert found.base is None


@pytest.mark.parametrize("op", [SourceOp(identifier="local://context"), DiffOp(lower=-1, upper=0)])
def test_what_is_no_image_is_a_layer(op):
    below = Edge(Vertex(op=SourceOp(identifier="docker-image://x")))
    inputs = (below,) if isinstance(op, DiffOp) else ()
    edge = Edge(Vertex(op=op, inputs=inputs))
    found = stack(edge)
    assert (found.base, found.tops) == (None, (edge,))


LAYER = WrittenLayer(
    descriptor=Descriptor(
        media_type=OCI_LAYER_GZIP, digest=digest_of("a"), size=7, annotations={"a": "b"}
    ),
    diff_id=DiffID(digest_of("b")),
    removed=("x/y", "z\udcff"),
)


def test_a_layer_is_told_of():
    assert from_json(to_json(LAYER).encode()) == LAYER


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        to_json(LAYER).replace("sha256:", "md5:").encode(),
        to_json(LAYER).replace("7", '"x"', 1).encode(),
        to_json(LAYER).replace('{"a": "b"}', "[1]").encode(),
    ],
)
def test_nonsense_is_refused(data):
    with pytest.raises(IntegrityError):
        from_json(data)
