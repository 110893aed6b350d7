"""Several platforms in one build: an index, and who can't run what."""

import json

import pytest
from support.building import Builder
from support.registry import LocalRegistry

pytestmark = pytest.mark.rootless

TEXT = "FROM scratch\nARG TARGETARCH\nCOPY a /a-$TARGETARCH\n"
PLATFORMS = ("--platform", "linux/amd64,linux/arm64")


@pytest.fixture
def builder(tmp_path):
    return Builder(tmp_path)


def test_an_index_of_one_image_for_each(builder):
    with LocalRegistry() as registry:
        name = f"{registry.host}/many:1"
        run = builder.build({"Dockerfile": TEXT, "a": "a"}, "-t", name, "--push", *PLATFORMS)
        shown = json.loads(builder.run("inspect", name, "--raw").out)
    listed = {item["platform"]["architecture"]: item["digest"] for item in shown["manifests"]}
    assert set(listed) == {"amd64", "arm64"}
    assert listed["amd64"] != listed["arm64"]
    assert run.metadata["containerimage.descriptor"]["mediaType"].endswith("index.v1+json")


def test_a_command_for_another_machine_is_refused_by_name(builder):
    files = {"Dockerfile": 'FROM scratch\nCOPY a /a\nRUN ["/a"]\n', "a": "a"}
    run = builder.build(files, "--platform", "linux/s390x", expect=125)
    assert "linux/s390x" in run.err
    assert "manifest create" in run.err


def test_an_output_that_holds_one_image_is_refused(builder):
    files = {"Dockerfile": TEXT, "a": "a"}
    run = builder.build(files, *PLATFORMS, "-o", f"type=tar,dest={builder.folder}/x", expect=1)
    assert "not supported yet" in run.err
