"""A frontend and the bridge, in conversation."""

import pytest
from support.talk import conversation


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "context"
    folder.mkdir()
    return folder


@pytest.fixture
def talk(place):
    with conversation({"context": place}) as both:
        yield both
