"""The reference's own cases, read from beside the repository; skipped where they are not."""

import os
from pathlib import Path

import pytest

from lazybuild.dockerfile.dump import dump
from lazybuild.dockerfile.parse import parse
from lazybuild.dockerfile.shell import expand, expand_words
from lazybuild.errors import DockerfileError

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "conformance"
DATA = Path(os.environ.get("LAZYBUILD_CONFORMANCE") or BESIDE)
ENVIRONMENT = {"PWD": "/home", "SHELL": "bash", "KOREAN": "한국어", "NULL": ""}


def _cases(folder):
    return sorted(path.parent for path in (DATA / folder).glob("*/Dockerfile"))


def _lines(name):
    path = DATA / "shell" / name
    return path.read_text("utf-8").split("\n") if path.exists() else []


def _expansions():
    for line in _lines("envVarTest"):
        parts = line.split("|")
        if len(parts) == 3 and not line.startswith("#") and parts[0].strip() in {"A", "U"}:
            yield parts[1].strip(), parts[2].strip()


def _splits():
    environment = {}
    for line in _lines("wordsTest"):
        if line.startswith("ENV "):
            name, _, value = line.removeprefix("ENV ").lstrip(" ").partition("=")
            environment[name] = value
        elif "|" in line and not line.startswith("#"):
            word, _, words = line.partition("|")
            yield word.strip(), words.lstrip(" "), dict(environment)


def test_the_data_is_whole_where_it_is_there():
    if not DATA.exists():
        pytest.skip("no conformance data beside the repository")
    assert len(_cases("parser")) >= 16
    assert len(list(_expansions())) >= 60
    assert len(list(_splits())) >= 10


@pytest.mark.parametrize("case", _cases("parser"), ids=lambda case: case.name)
def test_dump(case):
    document = parse((case / "Dockerfile").read_bytes())
    expected = (case / "result").read_text("utf-8").rstrip("\n")
    assert dump(document) == expected


@pytest.mark.parametrize("case", _cases("parser-negative"), ids=lambda case: case.name)
def test_refused_with_a_place(case):
    with pytest.raises(DockerfileError) as caught:
        parse((case / "Dockerfile").read_bytes())
    assert caught.value.span


@pytest.mark.parametrize(("word", "expected"), list(_expansions()))
def test_expansion(word, expected):
    if expected == "error":
        with pytest.raises(DockerfileError):
            expand(word, ENVIRONMENT)
    else:
        assert expand(word, ENVIRONMENT) == expected


@pytest.mark.parametrize(("word", "expected", "environment"), list(_splits()))
def test_words(word, expected, environment):
    if expected == "error":
        with pytest.raises(DockerfileError):
            expand_words(word, environment)
    else:
        assert expand_words(word, environment) == expected.split(",")
