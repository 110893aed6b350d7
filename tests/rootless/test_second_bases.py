"""Bases of other stages: mounted while the first step runs, and only when they will be needed."""

import signal
import time

import pytest
from support.building import Builder, interrupt

from lazybuild.oci import codec

pytestmark = pytest.mark.rootless


@pytest.fixture(scope="module")
def registry(registry, tmp_path_factory):
    """`second:1` is an image of one file."""
    builder = Builder(tmp_path_factory.mktemp("second"))
    text = {"Dockerfile": "FROM scratch\nCOPY f /f\n", "f": "second"}
    builder.build(text, "-t", f"{registry.host}/second:1", "--push")
    return registry


def layer_requests(registry, name):
    layer = codec.parse_manifest(registry.content.manifest(name, "1")[1]).layers[0]
    return [
        it for it in registry.requests("GET", layer.digest) if it.path.startswith(f"/v2/{name}/")
    ]


def test_the_base_of_a_later_stage_is_mounted_while_the_first_step_runs(builder, registry):
    text = f"""\
FROM {registry.host}/base:1 AS build
RUN echo begun; sleep 60; echo x > /x
FROM {registry.host}/second:1
COPY --from=build /x /x
"""
    before = len(layer_requests(registry, "second"))
    process = builder.started({"Dockerfile": text}, until=" begun")
    end = time.monotonic() + 20
    while len(layer_requests(registry, "second")) == before and time.monotonic() < end:
        time.sleep(0.05)
    assert process.poll() is None
    assert len(layer_requests(registry, "second")) > before
    interrupt(process, signal.SIGINT)


def test_a_base_whose_steps_are_all_cached_is_left_alone(builder, registry):
    text = f"""\
FROM {registry.host}/second:1 AS other
WORKDIR /d
FROM {registry.host}/base:1
COPY --from=other /f /f
RUN echo %d
"""
    builder.build({"Dockerfile": text % 1})
    before = len(layer_requests(registry, "second"))
    builder.build({"Dockerfile": text % 2})
    assert len(layer_requests(registry, "second")) == before
