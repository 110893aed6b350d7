"""Nodes to instructions: counts, flags, forms, and what is refused with which words."""

import pytest
from support.dockerfiles import compiled

from lazybuild.dockerfile.decode import decode
from lazybuild.dockerfile.instructions import Copy, From, Run
from lazybuild.dockerfile.parse import parse
from lazybuild.errors import DockerfileError, NotSupportedYetError
from lazybuild.llb.ops import NetworkMode, SecurityMode


def one(text):
    return decode(parse(text.encode(), "Dockerfile").nodes[0])


def refused(text):
    with pytest.raises(DockerfileError) as caught:
        compiled(text)
    assert caught.value.span is not None
    assert caught.value.source == text
    return caught.value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM", "FROM requires either one or three arguments"),
        ("FROM a b", "FROM requires either one or three arguments"),
        ("FROM a AS 1st", "invalid name for build stage"),
        ("FROM a AS b:c", "invalid name for build stage"),
        ("FROM a b c", "FROM requires either one or three arguments"),
        ("FROM --platfrom=linux/amd64 a", "unknown flag: --platfrom"),
        ("FROM debian\nCOPY a", "COPY requires at least two arguments"),
        ("FROM debian\nADD a", "ADD requires at least two arguments"),
        ("FROM debian\nCOPY --parents --parents a b", "duplicate flag specified: --parents"),
        ("FROM debian\nCOPY --link=maybe a b", "expecting boolean value for flag --link"),
        ("FROM debian\nCOPY --link= a b", "missing a value on flag: --link"),
        ("FROM debian\nCOPY --chown a b", "missing a value on flag: --chown"),
        ("FROM debian\nCOPY --unpack a b", "unknown flag: --unpack"),
        ("FROM debian\nADD --from=x a b", "unknown flag: --from"),
        ("FROM debian\nRUN --mounts=type=bind true", "unknown flag: --mounts"),
        ("FROM debian\nRUN --network=bridge true", "unsupported network mode"),
        ("FROM debian\nRUN --security=none true", "is not valid"),
        ("FROM debian\nRUN []", "RUN requires a command to run"),
        ("FROM debian\nWORKDIR", "WORKDIR requires exactly one argument"),
        ("FROM debian\nUSER", "USER requires exactly one argument"),
        ("FROM debian\nEXPOSE", "EXPOSE requires at least one argument"),
        ("FROM debian\nVOLUME", "VOLUME requires at least one argument"),
        ("FROM debian\nVOLUME $X", "VOLUME specified can not be an empty string"),
        ("FROM debian\nARG", "ARG requires at least one argument"),
        ("FROM debian\nARG =x", "ARG names can not be blank"),
        ("FROM debian\nENV =x", "ENV names can not be blank"),
        ("FROM debian\nENV --x a=b", "unknown flag: --x"),
        ("FROM debian\nSHELL bash -c", "SHELL requires the arguments to be in JSON form"),
        ("FROM debian\nSTOPSIGNAL SIGNOPE", "Invalid signal: SIGNOPE"),
        ("FROM debian\nSTOPSIGNAL 0", "Invalid signal: 0"),
        ("FROM debian\nONBUILD ONBUILD RUN x", "Chaining ONBUILD"),
        ("FROM debian\nONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("FROM debian\nONBUILD MAINTAINER x", "MAINTAINER isn't allowed as an ONBUILD trigger"),
        ("FROM debian\nHEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("FROM debian\nHEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("FROM debian\nHEALTHCHECK CURL x", "Unknown type"),
        ("FROM debian\nHEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("FROM debian\nHEALTHCHECK --interval=1 CMD x", "invalid duration"),
        ("FROM debian\nHEALTHCHECK --interval=1us CMD x", "cannot be less than 1ms"),
        ("FROM debian\nHEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative"),
        ("FROM debian\nHEALTHCHECK --retries=x CMD x", "invalid number of retries"),
        ("RUN true", "no build stage in current context"),
        ("ARG a=1", "dockerfile contains no stages"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(DockerfileError) as caught:
        compiled(text)
    assert message in caught.value.message


def test_an_error_has_place_source_and_near_name():
    error = refused("FROM debian\n\nCOPY --chownn=me a b\n")
    assert (error.span.path, error.span.line) == ("Dockerfile", 3)
    assert error.hint == "did you mean --chown?"


def test_flag_error_points_at_the_flag():
    error = refused("FROM debian\nCOPY --link --chwon=me a b\n")
    assert (error.span.column, error.span.end_column) == (13, 23)


def test_devices_are_refused_until_they_are_built():
    with pytest.raises(NotSupportedYetError, match="not supported yet"):
        compiled("FROM debian\nRUN --device=vendor.com/gpu=0 true\n")


def test_from():
    assert one("FROM --platform=$BUILDPLATFORM a AS Dev") == From(
        node=one("FROM --platform=$BUILDPLATFORM a AS Dev").node,
        base="a",
        stage_name="dev",
        platform="$BUILDPLATFORM",
    )


def test_run_flags():
    run = one("RUN --mount=target=/a --mount=target=/b --network=none --security=insecure -- ls")
    assert isinstance(run, Run)
    assert [flag.text for flag in run.mounts] == ["target=/a", "target=/b"]
    assert (run.network, run.security) == (NetworkMode.NONE, SecurityMode.INSECURE)


def test_run_forms():
    assert one('RUN ["a", "b"]').command.args == ("a", "b")
    assert one("RUN ['a']").command.args == ("['a']",)
    assert one("RUN a  'b'").command.args == ("a  'b'",)


def test_copy_flags():
    copy = one(
        "COPY --from=x --chown=1:2 --chmod=u+x --link --parents=true --exclude=a --exclude=b s d"
    )
    assert isinstance(copy, Copy)
    assert (copy.source_stage, copy.chown, copy.chmod) == ("x", "1:2", "u+x")
    assert (copy.link, copy.parents, copy.excludes) == (True, True, ("a", "b"))
    assert (copy.sources, copy.dest) == (("s",), "d")


def test_add_switches_know_three_states():
    assert one("ADD a b").unpack is None
    assert one("ADD --unpack a b").unpack is True
    assert one("ADD --unpack=FALSE --keep-git-dir a b").unpack is False
    assert one("ADD --keep-git-dir a b").keep_git_dir is True


def test_json_sources():
    assert one('COPY ["a b", "c", "d e"]').sources == ("a b", "c")


def test_heredoc_sources():
    copy = one("COPY <<one x <<-'two' /dst/\n1\none\n\t2\ntwo\n")
    assert copy.sources == ("x",)
    assert [(here.name, here.content, here.expand) for here in copy.inline] == [
        ("one", "1\n", True),
        ("two", "2\n", False),
    ]


def test_a_heredoc_is_no_destination():
    with pytest.raises(DockerfileError, match="cannot accept a heredoc as a destination"):
        one("COPY a <<dest\nx\ndest\n")


def test_onbuild_keeps_text_and_heredocs():
    assert one("onbuild  RUN <<EOF\necho\nEOF\n").trigger == "RUN <<EOF\necho\nEOF"
