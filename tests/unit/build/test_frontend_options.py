"""A request as a frontend is told it."""

from dataclasses import replace
from pathlib import Path

from lazybuild.build.frontend_options import options
from lazybuild.build.inputs import Inputs
from lazybuild.dockerfile.syntax import Frontend
from lazybuild.request import ALL_STAGES, BuildRequest, Pull

FRONTEND = Frontend(image="other/one", line="other/one a=b")
GIVEN = Inputs(
    path="build/a.yaml",
    data=b"",
    frontend=FRONTEND,
    context="local:context",
    contexts={},
    directories={},
    ignored=(),
    ignored_in={},
)


def told(given=GIVEN, **request):
    return options(BuildRequest(root=Path("/"), **request), given, FRONTEND)


def test_what_was_not_asked_for_is_not_told():
    assert told() == {"source": "other/one", "cmdline": "other/one a=b", "filename": "a.yaml"}


def test_everything():
    found = told(
        replace(GIVEN, contexts={"data": "local:data"}),
        target="t",
        platforms=("linux/arm64",),
        build_args={"A": "1", "EMPTY": ""},
        labels={"l": "m"},
        add_hosts=("a:::1", "b=1.2.3.4"),
        ulimits=("nofile=1:2", "core=0"),
        shm_size=64,
        network="none",
        pull=Pull.ALWAYS,
        no_cache=("a", "b"),
    )
    assert found == told() | {
        "target": "t",
        "platform": "linux/arm64",
        "build-arg:A": "1",
        "build-arg:EMPTY": "",
        "label:l": "m",
        "add-hosts": "a=::1,b=1.2.3.4",
        "ulimit": "nofile=1:2,core=0",
        "shm-size": "64",
        "force-network-mode": "none",
        "image-resolve-mode": "pull",
        "no-cache": "a,b",
        "context:data": "local:data",
        "frontend.caps": "moby.buildkit.frontend.contexts+forward",
    }


def test_no_cache_at_all_is_an_empty_list():
    assert told(no_cache=ALL_STAGES)["no-cache"] == ""


def test_a_context_behind_a_url_holds_the_file_unless_it_was_given_apart():
    url = "https://github.com/moby/buildkit.git"
    inside = replace(GIVEN, context=url)
    assert told(inside)["context"] == url
    assert told(inside)["filename"] == "build/a.yaml"
    assert "dockerfilekey" not in told(inside)
    apart = told(replace(inside, apart=True, path="-"))
    assert (apart["filename"], apart["dockerfilekey"]) == ("Dockerfile", "dockerfile")


def test_a_context_that_is_a_graph_comes_as_an_input():
    inside = replace(GIVEN, context="input:stdin", path="Dockerfile")
    assert "context" not in told(inside)
    assert told(replace(inside, apart=True))["dockerfilekey"] == "dockerfile"


def test_a_question():
    given = replace(GIVEN, contexts={"data": "local:data"})
    found = options(BuildRequest(root=Path("/")), given, FRONTEND, "frontend.lint")
    assert found["requestid"] == "frontend.lint"
    caps = ("contexts+forward", "subrequests")
    assert found["frontend.caps"] == ",".join(f"moby.buildkit.frontend.{name}" for name in caps)
