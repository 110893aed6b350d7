"""Several targets in one solve: whose directory is whose, and what links stand for."""

from dataclasses import replace
from pathlib import Path

import pytest

from lazybuild.build.compiling import distinct, linked, own_names, renamed
from lazybuild.build.inputs import Inputs
from lazybuild.build.labels import labelled, named
from lazybuild.dockerfile.compile import compile as compile_document
from lazybuild.dockerfile.options import CompileOptions
from lazybuild.events import Noted, VertexDone, VertexStarted
from lazybuild.llb.graph import walk
from lazybuild.llb.ops import Platform, SourceOp

HERE = Platform(os="linux", architecture="amd64")
ARM = Platform(os="linux", architecture="arm64")


def inputs(text, place, **other):
    given = Inputs(
        path="Dockerfile",
        data=text.encode(),
        frontend=None,
        context="local:context",
        contexts={},
        directories={"context": Path(place)},
        ignored=("*.log",),
        ignored_in={},
    )
    return replace(given, **other)


def compiled(given, platform=HERE):
    options = CompileOptions(
        build_platform=HERE,
        platform=platform,
        context=given.context,
        contexts=given.contexts,
        inputs=given.inputs,
        ignored=given.ignored,
        ignored_in=given.ignored_in,
    )
    return compile_document(given.document, options, None)


def locals_of(made):
    return {
        vertex.op.identifier: dict(vertex.op.attrs)
        for vertex in walk(made.head.vertex)
        if isinstance(vertex.op, SourceOp)
    }


def test_a_directory_has_one_name_in_all_targets():
    taken = {}
    named_ = {"contexts": {"data": "local:data"}}
    one = distinct(inputs("FROM scratch\nCOPY a /", "/a"), "x", taken)
    two = distinct(
        inputs(
            "FROM scratch\nCOPY a /",
            "/b",
            **named_,
            directories={"context": Path("/b"), "data": Path("/a")},
            ignored_in={"data": ("x",)},
        ),
        "x",
        taken,
    )
    three = distinct(inputs("FROM scratch\nCOPY a /", "/a"), "x", taken)
    assert (one.context, two.context, three.context) == (
        "local:context",
        "local:context-2",
        "local:context",
    )
    assert two.contexts == {"data": "local:data"}
    assert two.directories == {"context-2": Path("/b"), "data": Path("/a")}
    assert two.ignored_in == {"context-2": ("*.log",), "data": ("x",)}
    made = locals_of(compiled(two))
    assert made["local://context-2"]["local.excludepatterns"] == '["*.log"]'
    assert compiled(one).head.vertex.digest == compiled(three).head.vertex.digest
    assert compiled(one).head.vertex.digest != compiled(two).head.vertex.digest


def test_a_link_is_the_other_graph_and_its_sources_stay_what_they_are():
    lib = inputs("FROM scratch\nCOPY a /\nENV A=1", "/a")
    app = inputs("FROM lib\nCOPY b /", "/a")
    made = {"base": [compiled(lib)]}
    result = compiled(linked(app, {"lib": "base"}, made))
    follow = [
        dict(vertex.op.attrs)["local.followpaths"]
        for vertex in walk(result.head.vertex)
        if isinstance(vertex.op, SourceOp)
    ]
    assert sorted(follow) == ['["a"]', '["b"]']
    assert result.config.config.env[-1] == "A=1"
    lib_digests = {vertex.digest for vertex in walk(made["base"][0].head.vertex)}
    assert lib_digests < {vertex.digest for vertex in walk(result.head.vertex)}


@pytest.mark.parametrize("platform", [HERE, ARM])
def test_a_link_to_several_platforms_is_the_one_for_the_own(platform):
    lib = inputs("FROM scratch\nARG TARGETARCH\nENV ARCH=$TARGETARCH\nCOPY a /", "/a")
    made = {"lib": [compiled(lib, HERE), compiled(lib, ARM)]}
    app = linked(inputs("FROM lib\nCOPY b /", "/a"), {"lib": "lib"}, made)
    env = compiled(app, platform).config.config.env
    assert f"ARCH={platform.architecture}" in env


def test_what_is_shown_says_which_target_it_is_of():
    seen = []
    sink = labelled(seen.append, "app")
    sink(VertexStarted(vertex="[internal] load", name="[internal] load"))
    sink(VertexDone(vertex="exporting", name="exporting"))
    sink(Noted(message="hm"))
    assert [(event.vertex, event.name) for event in seen[:2]] == [
        ("app [internal] load", "[app internal] load"),
        ("app exporting", "[app] exporting"),
    ]
    assert seen[2].message == "app: hm"
    assert named(seen[2], "") is seen[2]
    assert labelled(seen.append, "") == seen.append


def test_a_graph_that_was_made_elsewhere_gets_the_names_of_its_directories():
    made = compiled(inputs("FROM scratch\nCOPY a /\nCOPY b /", "/a"))
    taken = {"context": Path("/other")}
    names = own_names({"context": Path("/a")}, taken)
    found = renamed(made, names)
    assert set(locals_of(found)) == {"local://context-2"}
    assert locals_of(found)["local://context-2"] == locals_of(made)["local://context"]
    assert len(list(walk(found.head.vertex))) == len(list(walk(made.head.vertex)))
    assert renamed(made, {"context": "context"}) is made
