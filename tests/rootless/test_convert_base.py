"""`--convert-base`: an image on a plain base whose lower layers are lazy, and what stays."""

import json

import pytest
from support.building import Builder

from lazybuild.oci import codec

pytestmark = pytest.mark.rootless


@pytest.fixture(scope="module")
def registry(registry, tmp_path_factory):
    """`plain:1` is the base as a plain gzip image."""
    builder = Builder(tmp_path_factory.mktemp("plain"))
    builder.run(
        "convert", f"{registry.host}/base:1", f"{registry.host}/plain:1",
        "--compression", "gzip", "--push",
    )  # fmt: skip
    return registry


def manifest(registry, name):
    return codec.parse_manifest(registry.content.manifest(name, "1")[1])


def test_the_base_is_lazy_afterwards_its_used_files_first(builder, registry):
    name = f"{registry.host}/made:1"
    text = {"Dockerfile": f"FROM {registry.host}/plain:1\nRUN cat /etc/passwd > /copy\n"}
    run = builder.build(text, "--convert-base", "-t", name, "--push")
    plain, made = manifest(registry, "plain"), manifest(registry, "made")
    assert f"base layer {plain.layers[0].digest[:19]}" in run.err
    assert "not shared with the base any more" in run.err
    assert made.layers[0].digest != plain.layers[0].digest
    blobs = registry.requests("GET", f"/blobs/{plain.layers[0].digest}")
    assert sum(exchange.sent for exchange in blobs) <= plain.layers[0].size + 64
    other = Builder(builder.folder / "other")
    said = json.loads(other.run("inspect", "--json", name).out)
    assert [layer["mode"] for layer in said["layers"]] == ["lazy", "lazy"]
    assert "etc/passwd" in said["layers"][0]["prefetch"]["files"]
    flat = other.run("convert", "-q", name, "flat", "--compression", "none")  # checks diff IDs
    assert flat.out.startswith("sha256:")


def test_images_of_one_store_share_what_their_base_became(builder, registry):
    base = f"{registry.host}/plain:1"
    for number in range(2):
        name = f"{registry.host}/twin{number}:1"
        text = {"Dockerfile": f"FROM {base}\nRUN echo {number} > /x\n"}
        builder.build(text, "--convert-base", "-t", name, "--push")
    first, second = manifest(registry, "twin0"), manifest(registry, "twin1")
    assert first.layers[0] == second.layers[0]
    plain = builder.build(text, "-t", f"{registry.host}/kept:1", "--push")
    assert plain.step("RUN")["cached"]
    assert (
        manifest(registry, "kept").layers[0].digest == manifest(registry, "plain").layers[0].digest
    )


def test_a_build_that_only_copies_converts_too(builder, registry):
    name = f"{registry.host}/copied:1"
    text = {"Dockerfile": f"FROM {registry.host}/plain:1\nCOPY x /x\n", "x": "x"}
    builder.build(text, "--convert-base", "-t", name, "--push")
    other = Builder(builder.folder / "other")
    text = {"Dockerfile": f"FROM {name}\nRUN cat /etc/passwd /x\n"}
    assert "alice" in other.build(text, "--require-lazy").err


def test_a_lazy_base_stays_and_formats_that_are_not_lazy_are_refused(builder, registry):
    name = f"{registry.host}/same:1"
    text = {"Dockerfile": f"FROM {registry.host}/base:1\nRUN echo x > /x\n"}
    run = builder.build(text, "--convert-base", "-t", name, "--push")
    assert "became" not in run.err
    assert manifest(registry, "same").layers[0] == manifest(registry, "base").layers[0]
    refused = builder.build(text, "--convert-base", "--compression", "gzip", expect=2)
    assert "makes layers lazy" in refused.err
