"""What most tests of whole builds stand on: a registry with a base, a builder that cleans up."""

import subprocess

import pytest
from support.building import registry_with_base, settling_builder
from support.contents import CANARY


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with registry_with_base(tmp_path_factory.mktemp("base")) as registry:
        yield registry


@pytest.fixture
def faultless(registry):
    """What the test before told the registry to do wrong is forgotten."""
    registry.script.clear()
    registry.mount = True
    yield
    registry.script.clear()


@pytest.fixture(scope="module")
def base(registry):
    return f"{registry.host}/base:1"


@pytest.fixture
def folder(tmp_path):
    """A folder that can be removed whatever modes a build left in it."""
    yield tmp_path
    subprocess.run(["chmod", "-R", "u+rwX", tmp_path], check=False)


@pytest.fixture
def builder(folder):
    with settling_builder(folder) as builder:
        yield builder


@pytest.fixture
def canary(tmp_path):
    """A directory beside the store that is the same after every test."""
    place = tmp_path / "outside"
    place.mkdir()
    (place / "canary").write_text(CANARY)
    yield place
    assert [(path.name, path.read_text()) for path in place.iterdir()] == [("canary", CANARY)]
