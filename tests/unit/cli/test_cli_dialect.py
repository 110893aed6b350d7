"""Flags as scripts for docker, buildx and buildah give them."""

import click
import pytest

from lazybuild.cli import build, config, dialect
from lazybuild.errors import UsageError


def parsed(*flags):
    return dict(build.command.make_context("build", list(flags)).params)


def settled(*flags):
    said = []
    values = parsed(*flags)
    dialect.settle(values, said.append)
    return values, said


@pytest.mark.parametrize(
    ("flags", "pull", "context"),
    [
        (("--pull", "."), "always", "."),
        (("--pull=never", "dir"), "never", "dir"),
        (("--pull=true", "."), "true", "."),
        (("dir",), "missing", "dir"),
    ],
)
def test_pull_takes_no_word_that_stands_after_it(flags, pull, context):
    values = parsed(*flags)
    assert (values["pull"], values["context"]) == (pull, context)


def test_booleans_may_be_given_a_value():
    values = parsed("--push=true", "--load=false", "--no-cache=1", "--quiet=False", ".")
    assert (values["push"], values["load"], values["no_cache"], values["quiet"]) == (
        True,
        False,
        True,
        False,
    )
    with pytest.raises(UsageError, match="--load=maybe"):
        parsed("--load=maybe", ".")


def test_values_of_other_options_are_left_alone():
    values = parsed("--build-arg=A=false", "--label=push=true", ".")
    assert values["build_arg"] == ("A=false",)
    assert values["label"] == ("push=true",)


def test_words_after_two_dashes_are_left_alone():
    @click.command(cls=dialect.PflagCommand)
    @click.option("--push", is_flag=True)
    @click.argument("words", nargs=-1)
    def command(**values):
        return values

    made = command.make_context("x", ["--push=true", "--", "--pull", "--push=false"])
    assert made.params == {"push": True, "words": ("--pull", "--push=false")}


def test_what_has_no_meaning_is_named_once():
    values, said = settled("--rm", "--rm=true", "-m", "1g", "--cpu-shares=5", ".")
    assert said == ["--rm, --cpu-shares, --memory: without effect here"]
    assert not {"rm", "memory", "cpu_shares", "squash"} & set(values)
    assert settled(".")[1] == []


def test_what_would_be_missed_is_refused():
    with pytest.raises(UsageError, match="--squash"):
        settled("--squash", ".")


@pytest.mark.parametrize("flag", ["--policy", "--security-opt", "--device"])
def test_what_takes_a_value_is_refused_too(flag):
    with pytest.raises(UsageError, match=flag):
        settled(flag, "x", ".")


@pytest.mark.parametrize("flag", ["--provenance=false", "--sbom=false", "--squash=false"])
def test_switched_off_it_is_fine(flag):
    assert settled(flag, ".")[1] == []


def test_devcontainers_command_line():
    values, said = settled(
        "--load", "--build-context", "features=/f", "--build-arg", "X=1", "--target", "dev",
        "-f", "/d/Dockerfile", "-t", "vsc", "--provenance=false", "/d",
    )  # fmt: skip
    assert (values["load"], values["target"], values["context"], said) == (True, "dev", "/d", [])


def test_retries_are_the_registrys():
    values = parsed("--retry", "2", "--retry-delay", "3s", ".")
    made = config.registries(values)
    assert (made.retries, made.retry_wait) == (2, 3.0)
    assert "retry" not in values
    assert config.registries(parsed(".")).retries == 5
