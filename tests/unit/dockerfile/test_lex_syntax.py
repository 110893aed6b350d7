"""Which `# syntax=` is built in, and which image is meant otherwise."""

import pytest

from lazybuild.dockerfile.syntax import foreign


def named(text, argument="", chosen=""):
    arguments = {"BUILDKIT_SYNTAX": argument} if argument else {}
    return foreign(text.encode(), "Dockerfile", arguments, chosen)


@pytest.mark.parametrize(
    "name",
    [
        "docker/dockerfile",
        "docker/dockerfile:1.7-labs",
        "docker.io/docker/dockerfile:1@sha256:" + "0" * 64,
        "docker/dockerfile-upstream:master",
        "mirror.test:5000/docker/dockerfile:1",
        "registry.test/tools/lazybuild-frontend:2",
        "dockerfile.v0",
    ],
)
def test_built_in(name):
    assert named(f"# syntax={name}\nFROM a") is None
    assert named("# syntax=other/one\nFROM a", f"{name} x=y") is None


def test_no_syntax_at_all():
    assert named("FROM a") is None
    assert foreign(b"FROM a", "Dockerfile", {"BUILDKIT_SYNTAX": ""}) is None


@pytest.mark.parametrize(
    "name", ["other/one", "docker/dockerfiles", "dockerfile", "UPPER", "x/not-lazybuild-frontend"]
)
def test_other_names_are_images(name):
    found = named(f"#!/x\n# syntax={name} a=b\nFROM a")
    assert (found.image, found.line) == (name, f"{name} a=b")
    assert found.span.line == 2
    assert found.refused("--builder", "text").span.line == 2


def test_a_file_that_is_no_dockerfile_names_one_too():
    assert named("// syntax=other/one\n{}").image == "other/one"
    assert named('{"syntax": "other/one"}').image == "other/one"
    assert named("#syntax=other/one\nkey: value\n").image == "other/one"


def test_the_argument_wins():
    found = named("# syntax=docker/dockerfile\nFROM a", "other/one x")
    assert (found.image, found.line, found.span) == ("other/one", "other/one x", None)


def test_the_flag_wins_over_all():
    text = "# syntax=other/one\nFROM a"
    assert named(text, "other/two", "docker/dockerfile:1").image == "docker/dockerfile:1"
    assert named(text, "other/two", "dockerfile.v0") is None
