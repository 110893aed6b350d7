"""Stages: which are compiled, what they begin with, what names mean, what is refused."""

from dataclasses import replace

import pytest
from support.dockerfiles import ARM64, Images, compiled, history, image, names, vertices

from lazybuild.dockerfile.compile import compile_each, targets
from lazybuild.dockerfile.options import CompileOptions, FrontendInput
from lazybuild.dockerfile.parse import parse
from lazybuild.errors import DockerfileError, RegistryError
from lazybuild.llb.graph import Edge, Vertex
from lazybuild.llb.ops import ExecOp, FileOp, Platform, SourceOp


def refused(text, images=None, **options):
    with pytest.raises(DockerfileError) as caught:
        compiled(text, images, **options)
    return caught.value


def sources(result):
    return [v.op.identifier for v in vertices(result) if isinstance(v.op, SourceOp)]


def test_only_what_the_target_needs_is_looked_up():
    images = Images()
    compiled("FROM nowhere AS a\nRUN a\nFROM debian AS b\nFROM b\nRUN c\n", images)
    assert [reference for reference, _ in images.asked] == ["docker.io/library/debian:latest"]


def test_an_image_is_looked_up_once():
    images = Images()
    compiled(
        "FROM debian\nCOPY --from=debian /a /a\nCOPY --from=debian /b /b\n"
        "RUN --mount=from=debian,target=/d true\n",
        images,
    )
    assert len(images.asked) == 2  # the stage, and the image that steps take files from


def test_a_missing_image_is_the_resolvers_error():
    with pytest.raises(RegistryError, match="not found") as caught:
        compiled("FROM debian AS build\nFROM debian\nCOPY --from=biuld /a /a\n")
    assert caught.value.hint == "did you mean build?"
    assert caught.value.__notes__ == ["Dockerfile:3: FROM biuld"]


def test_unknown_target_suggests():
    error = refused("FROM debian AS build\nFROM build AS test\n", target="tset")
    assert 'target stage "tset" could not be found' in error.message
    assert error.hint == "did you mean test?"


def test_no_target_is_the_last_stage():
    result = compiled("FROM debian AS one\nRUN a\nFROM scratch AS two\n")
    assert (result.head, result.stage) == (None, "two")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM debian AS a\nCOPY --from=a /x /x\n", "circular dependency detected on stage: a"),
        ("FROM debian AS a\nCOPY --from=0 /x /x\n", "circular dependency detected on stage: a"),
        (
            "FROM debian AS a\nCOPY --from=b /x /x\nFROM a AS b\n",
            "circular dependency detected on stage: a",
        ),
        (
            "FROM debian AS a\nRUN --mount=from=b,target=/b x\nFROM a AS b\n",
            "circular dependency detected on stage: a",
        ),
        (
            "FROM debian AS a\nCOPY --from=b /x /x\nFROM debian AS b\nFROM a\n",
            'cannot copy from stage "b", it needs to be defined before current stage "a"',
        ),
        (
            "FROM debian AS a\nRUN --mount=from=b,target=/x y\nFROM debian AS b\nFROM a\n",
            'cannot mount from stage "b" to "/x"',
        ),
        ("FROM debian\nCOPY --from=7 /x /x\n", "invalid stage index 7"),
        ("FROM debian\nCOPY --from=-1 /x /x\n", "invalid stage index -1"),
        ("FROM debian\nCOPY --from=debian /x /x\nCOPY --from=1 /x /x\n", "invalid stage index 1"),
        ("ARG X\nFROM $X\n", "base name ($X) should not be blank"),
        ("FROM --platform=$X debian\n", "empty platform value from expression $X"),
        ("FROM --platform=a/b/c/d debian\n", "failed to parse platform"),
        ("FROM Debian:A:B\n", "invalid image reference"),
        ("FROM ${X:?needed}\n", "needed"),
        ("FROM debian\nCOPY --from=$X /a /b\n", "variable expansion is not supported for --from"),
    ],
)
def test_refuses(text, message):
    error = refused(text)
    assert message in error.message
    assert error.span is not None


def test_from_argument_suggests_a_declared_one():
    assert refused("ARG VERSION=1\nFROM ${VERSOIN}\n").hint == "did you mean VERSION?"


def test_global_arguments_are_not_seen_in_stages():
    result = compiled("ARG A=1\nFROM debian\nENV B=x$A\n")
    assert "B=x" in result.config.config.env


def test_scratch_config():
    config = compiled("FROM scratch\n").config
    assert (config.os, config.architecture, config.config.working_dir) == ("linux", "amd64", "/")
    assert config.diff_ids == ()


def test_base_history_is_kept_and_counted():
    result = compiled("FROM debian\nRUN a\n", Images(debian=image(layers=3)))
    assert result.base_history == 3
    assert [line.created_by for line in result.config.history[:3]] == [
        "layer 0",
        "layer 1",
        "layer 2",
    ]
    assert result.config.created == ""
    assert len(result.config.diff_ids) == 3
    assert result.base is not None
    assert str(result.base.digest) in sources(result)[0]


def test_unknown_keys_of_a_base_config_are_left_behind():
    base = image()
    odd = replace(
        base,
        extra={"moby.buildkit.cache.v0": "x"},
        config=replace(base.config, extra={"Hostname": "h"}),
    )
    config = compiled("FROM debian\n", Images(debian=odd)).config
    assert (config.extra, config.config.extra) == ({}, {})


def test_platform_of_the_target():
    images = Images(debian=image(architecture="any"))
    result = compiled("FROM debian\nRUN a\n", images, platform=ARM64)
    assert images.asked == [("docker.io/library/debian:latest", "linux/arm64")]
    assert result.config.architecture == "arm64"
    assert {str(v.platform) for v in vertices(result) if isinstance(v.op, ExecOp)} == {
        "linux/arm64"
    }
    assert all(v.platform is None for v in vertices(result) if isinstance(v.op, FileOp))


def test_own_platform_of_an_image_when_this_machine_builds_for_it():
    images = Images(debian=image(architecture="arm64"))
    result = compiled("FROM debian\nRUN a\n", images, other_platforms=(ARM64,))
    assert result.platform == ARM64


def test_platform_is_imposed_on_the_config():
    images = Images(debian=image(architecture="amd64"))
    aim = Platform(os="linux", architecture="arm", variant="v7")
    config = compiled("FROM debian\n", images, platform=aim).config
    assert (config.architecture, config.variant) == ("arm", "v7")


def test_a_stage_alone_has_a_name_only_when_something_is_mounted():
    assert names(compiled("FROM debian AS dev\nRUN x\n"))[-1] == "[2/2] RUN x"
    text = "FROM debian AS dev\nRUN --mount=type=tmpfs,target=/t x\n"
    assert names(compiled(text))[-1].startswith("[dev 2/2] RUN")


def test_several_platforms_are_marked():
    document = parse(b"FROM debian AS s\nRUN a\n")
    results = compile_each(
        document,
        CompileOptions(build_platform=ARM64),
        [ARM64, Platform(os="linux", architecture="amd64")],
        Images(debian=image(architecture="any")),
    )
    assert [names(result)[-1] for result in results] == [
        "[linux/arm64 2/2] RUN a",
        "[linux/amd64 2/2] RUN a",
    ]


def test_stages_are_listed():
    found = targets(parse(b"# build makes it\nFROM a AS build\n# other\nFROM $B\n"))
    assert [(info.name, info.base, info.description) for info in found] == [
        ("build", "a", "makes it"),
        ("", "$B", ""),
    ]


def test_stages_know_whether_they_are_reached():
    result = compiled("FROM debian AS a\nFROM debian AS b\nFROM a\n")
    assert [(info.name, info.reachable) for info in result.stages] == [
        ("a", True),
        ("b", False),
        ("", True),
    ]


def test_onbuild_of_an_image_runs_once_and_is_not_inherited():
    images = Images(trigger=image(on_build=("RUN triggered",)))
    text = "FROM trigger AS a\nRUN mine\nFROM a\nRUN last\n"
    assert names(compiled(text, images))[1:] == [
        "[a 2/3] ONBUILD RUN triggered",
        "[a 3/3] RUN mine",
        "[stage-1 1/1] RUN last",
    ]


def test_onbuild_of_a_stage_does_not_skip_a_generation():
    text = "FROM debian AS a\nONBUILD RUN t\nFROM a AS b\nFROM b\nRUN last\n"
    assert names(compiled(text))[1:] == ["[b 1/1] ONBUILD RUN t", "[stage-2 1/1] RUN last"]


def test_a_broken_trigger_is_placed_at_the_from():
    error = refused("\nFROM trigger\n", Images(trigger=image(on_build=("COPY --nope a b",))))
    assert "unknown flag: --nope" in error.message
    assert error.span is not None
    assert error.span.line == 2


@pytest.mark.parametrize("trigger", ["FROM x", "RUN a\nRUN b", "NOPE", ""])
def test_wrong_triggers(trigger):
    refused("FROM trigger\n", Images(trigger=image(on_build=(trigger,))))


def test_long_chains_do_not_recurse():
    text = "FROM debian AS s0\n" + "".join(f"FROM s{n} AS s{n + 1}\nRUN {n}\n" for n in range(2000))
    assert len(vertices(compiled(text))) == 2001


def test_labels_of_the_command_line_win():
    config = compiled("FROM debian\nLABEL a=1 b=2\n", labels={"b": "3"}).config
    assert config.config.labels == {"a": "1", "b": "3"}


def test_input_contexts():
    edge = Edge(Vertex(op=SourceOp(identifier="docker-image://given")))
    given = FrontendInput(head=edge, config=image(env=("A=b",)))
    result = compiled("FROM base\nRUN x\n", inputs={"key": given}, contexts={"base": "input:key"})
    assert sources(result) == ["docker-image://given"]
    assert result.config.config.env[0] == "A=b"
    main = compiled("FROM scratch\nCOPY a /\n", inputs={"ctx": given}, context="input:ctx")
    assert sources(main) == ["docker-image://given"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("oci-layout://store", "has no digest"),
        ("oci-layout://store@sha256:12", "has no digest"),
        ("input:none", "invalid input none"),
        ("ftp://x/y", "unsupported context source"),
        ("https://x/y.git?ref=", "has no value"),
        ("docker-image://A:B:C", "invalid image reference"),
    ],
)
def test_wrong_contexts(value, message):
    with pytest.raises(DockerfileError, match=message):
        compiled("FROM base\nRUN x\n", contexts={"base": value})


def test_contexts_named_like_images():
    result = compiled(
        "FROM debian:latest\nRUN x\n",
        contexts={"debian": "docker-image://debian:12"},
        images=Images(**{"debian:12": image()}),
    )
    assert names(result)[0] == "[context debian] debian:12"


def test_the_name_context_is_never_a_named_one():
    images = Images(context=image())
    compiled("FROM context\nRUN x\n", images, contexts={"context": "local:other"})
    assert images.asked


def test_a_context_that_replaces_a_stage():
    result = compiled(
        "FROM nowhere AS deps\nRUN never\nFROM deps\nRUN mine\n",
        contexts={"deps": "docker-image://debian"},
    )
    assert names(result)[0] == "[context deps] debian"
    assert history(result) == ["RUN /bin/sh -c mine # buildkit"]


@pytest.mark.parametrize(
    ("context", "identifier"),
    [
        ("https://github.com/a/b.git", "git://github.com/a/b.git"),
        ("github.com/a/b#main:sub", "git://github.com/a/b#main:sub"),
        ("git@github.com:a/b", "git://github.com/a/b"),
        ("https://example.com/x.tar", "https://example.com/x.tar"),
    ],
)
def test_remote_main_contexts(context, identifier):
    assert sources(compiled("FROM scratch\nCOPY a /\n", context=context))[0] == identifier


def test_an_unused_context_is_no_source():
    assert compiled("FROM debian\nRUN a\n").locals == {}
