"""One name for images that were built for a platform each."""

import pytest
from support.building import Builder

from lazybuild.oci import codec

pytestmark = pytest.mark.rootless


def pushed(builder, registry, arch, repository):
    run = builder.build(
        {"Dockerfile": "FROM scratch\nCOPY name /name\n", "name": arch},
        "--platform", f"linux/{arch}",
        "-o", f"type=image,name={registry.host}/{repository},push-by-digest=true,push=true",
    )  # fmt: skip
    return f"{registry.host}/{repository}@{run.digest}"


def test_images_of_two_builders_become_one_list(registry, builder, tmp_path):
    arm = pushed(Builder(tmp_path / "arm"), registry, "arm64", "parts/arm")
    amd = pushed(Builder(tmp_path / "amd"), registry, "amd64", "parts/amd")
    name = f"{registry.host}/whole:1"
    out = builder.run("manifest", "create", name, arm, amd).out
    assert [line.split()[0] for line in out.splitlines()] == ["linux/arm64", "linux/amd64"]
    digest = builder.run("manifest", "push", name).out.strip()
    found, data, _ = registry.content.manifest("whole", "1")
    assert found == digest
    index = codec.parse_index(data)
    assert [item.digest for item in index.manifests] == [arm[-71:], amd[-71:]]
    assert [item.platform["architecture"] for item in index.manifests] == ["arm64", "amd64"]
    uploads = [x for x in registry.requests("POST") if "/v2/whole/" in x.path]
    assert sum("mount=" in x.query for x in uploads) == 2  # the layers; configs were sent
    run = builder.build(
        {"Dockerfile": f"FROM {name}\nLABEL a=b\n"},
        "-t", "x", "-o", f"type=local,dest={tmp_path}/out", "--pull",
    )  # fmt: skip
    assert run.code == 0
    assert (tmp_path / "out/name").read_text() == "amd64"


def test_a_list_takes_an_image_for_each_platform_once(registry, builder):
    one = pushed(builder, registry, "arm64", "twice")
    name = f"{registry.host}/twice:all"
    run = builder.run("manifest", "create", name, one, one, expect=2)
    assert "linux/arm64 already" in run.err
    builder.run("manifest", "create", name, one)
    other = pushed(builder, registry, "amd64", "twice")
    out = builder.run("manifest", "create", "--amend", name, other, one).out
    assert len(out.splitlines()) == 2


def test_statements_stay_with_their_image(registry, builder, tmp_path):
    builder.build(
        {"Dockerfile": f"FROM {registry.host}/base:1\nLABEL a=b\n"},
        "-t", f"{registry.host}/stated:1", "--push", "--provenance",
    )  # fmt: skip
    other = Builder(tmp_path / "other")
    name = f"{registry.host}/stated-list:1"
    other.run("manifest", "create", name, f"{registry.host}/stated:1")
    other.run("manifest", "push", name)
    index = codec.parse_index(registry.content.manifest("stated-list", "1")[1])
    assert index.manifests[1].annotations["vnd.docker.reference.digest"] == (
        index.manifests[0].digest
    )


def test_what_is_no_list_can_not_be_amended(registry, builder):
    builder.build({"Dockerfile": "FROM scratch\nLABEL a=b\n"}, "-t", "plain")
    run = builder.run("manifest", "create", "-a", "plain", f"{registry.host}/base:1", expect=2)
    assert "not a list" in run.err
    assert "no/such" in builder.run("manifest", "push", "no/such:1", expect=2).err
