"""`lazybuild convert`: plain images made lazy, in every format, in the order that is wanted."""

import json

import pytest
from support.building import Builder, settled
from support.tiny_image import noise

from lazybuild.oci import codec
from lazybuild.oci.descriptor import TOC_DIGEST

pytestmark = pytest.mark.rootless


@pytest.fixture
def plain(builder, registry):
    """The base as a plain gzip image at the registry."""
    builder.run(
        "convert", f"{registry.host}/base:1", f"{registry.host}/plain:1",
        "--compression", "gzip", "--push",
    )  # fmt: skip
    return f"{registry.host}/plain:1"


def manifest(builder, digest):
    data = (builder.root / "blobs/sha256" / digest[7:]).read_bytes()
    return codec.parse_document(data)


def converted(builder, source, *flags, name="made:1"):
    run = builder.run("convert", "-q", source, name, *flags)
    return manifest(builder, run.out.strip())


@pytest.mark.parametrize("kind", ["estargz", "zstd:chunked", "zstd:chunked:podman", "estargz:9"])
def test_a_plain_image_becomes_one_that_is_mounted_lazily(builder, registry, plain, kind):
    name = f"{registry.host}/made-{kind.replace(':', '-')}:1"
    builder.run("convert", plain, name, "--compression", kind, "--push")
    other = Builder(builder.folder / "other")
    run = other.build({"Dockerfile": f"FROM {name}\nRUN cat /etc/passwd\n"}, "--require-lazy")
    assert "alice" in run.err
    assert settled(other.leftovers) == []


@pytest.mark.parametrize("kind", ["gzip", "zstd", "none"])
def test_other_formats_are_read_whole_and_hold_the_same(builder, registry, kind):
    name = f"{registry.host}/made-{kind}:1"
    builder.run("convert", f"{registry.host}/base:1", name, "--compression", kind, "--push")
    other = Builder(builder.folder / "other")
    files = {"Dockerfile": f"FROM {name}\nRUN cat /etc/passwd\n"}
    assert "lazily" in other.build(files, "--require-lazy", expect=125).err
    assert "alice" in other.build(files).err


def test_what_a_run_reads_comes_first_and_is_recorded_for_ctr_remote(builder, plain):
    record = builder.folder / "record"
    document = converted(builder, plain, "--prefetch-run", "cat /etc/group", "--record-out", record)
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert {line["layerIndex"] for line in lines} == {0}
    assert "etc/group" in [line["path"] for line in lines]
    assert document.layers[0].annotations
    again = converted(builder, plain, "--record-in", record)
    assert again.layers == document.layers
    without = converted(builder, plain)
    assert without.layers != document.layers


def test_a_list_of_patterns_decides_what_comes_first(builder, plain):
    listed = builder.folder / "list"
    listed.write_text("# a comment\n/etc/*\n\nbin/[s]h\n")
    document = converted(builder, plain, "--prefetch-list", listed)
    assert document.layers != converted(builder, plain).layers


def test_a_layer_that_is_lazy_is_kept_when_nothing_reorders_it(builder, registry):
    base = f"{registry.host}/base:1"
    document = converted(builder, base, "--reuse")
    original = codec.parse_document(registry.content.manifest("base", "1")[1])
    assert document.layers == original.layers


def test_an_oci_layout_is_a_source(builder, registry, tmp_path):
    layout = tmp_path / "layout"
    builder.build(
        {"Dockerfile": f"FROM {registry.host}/base:1\nENV A=b\n"},
        "-o", f"type=oci,tar=false,dest={layout}",
    )  # fmt: skip
    document = converted(builder, f"oci-layout:{layout}", "--compression", "zstd:chunked")
    assert document.layers[0].media_type.endswith("zstd")


def test_a_record_that_is_none_is_refused(builder, plain):
    record = builder.folder / "record"
    record.write_text('{"path": 1}\n')
    assert "not a record" in builder.run("convert", plain, "x", "--record-in", record, expect=2).err


def test_a_landmark_behind_everything_makes_no_layer_eager(builder, registry):
    """What the writer wants fetched first is bounded, and the build says so."""
    listed = builder.folder / "list"
    listed.write_text("**\n")
    files = {f"f{number}": noise(1 << 20, number) for number in range(9)}
    text = f"FROM {registry.host}/base:1\nCOPY f* /large/\n"
    builder.build({"Dockerfile": text, **files}, "-t", "large")
    name = f"{registry.host}/silly:1"
    builder.run("convert", "large", name, "--prefetch-list", listed, "--push")
    other = Builder(builder.folder / "other")
    run = other.build({"Dockerfile": f"FROM {name}\nRUN sleep 1\n"})
    assert "MB before its landmark are too many, 5 MB are fetched" in run.err
    layer = next(layer for layer in run.stats["layers"] if layer["size"] > 8 << 20)
    assert layer["mode"] == "lazy"
    assert layer["bytes_fetched"] < 6 << 20
    assert ", cut to 4.7 MB" in other.run("inspect", name).out


def test_every_platform_of_an_image_is_converted(builder, registry):
    name = f"{registry.host}/both:1"
    platforms = ("--platform", "linux/amd64,linux/arm64")
    text = {"Dockerfile": "FROM scratch\nCOPY x /x\n", "x": "x"}
    builder.build(text, *platforms, "--compression", "gzip", "-t", name, "--push")
    index = converted(builder, name, "--all-platforms")
    assert [item.platform["architecture"] for item in index.manifests] == ["amd64", "arm64"]
    for item in index.manifests:
        (layer,) = manifest(builder, item.digest).layers
        assert layer.annotations[TOC_DIGEST]
