"""Layers that are not what their manifests say, in whole builds. By number of the case."""

import gzip

import pytest
import zstandard
from support import tars
from support.images import put_image
from support.layers import file, write

from lazybuild.oci.descriptor import OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, TOC_DIGEST
from lazybuild.oci.digest import of

pytestmark = pytest.mark.rootless

FLAGS = ("--profile-from", "off", "--profile-to", "off", "-t", "x")


def over(registry, image, command):
    step = f"RUN --mount=from={image},target=/m {command}"
    return {"Dockerfile": f"FROM {registry.host}/base:1\n{step}\n"}


def plain(name):
    return tars.tar([tars.file(name, name.encode())])


def test_08_a_hard_link_to_a_file_of_a_lower_layer_is_a_link_in_the_new_one(registry, builder):
    base = f"{registry.host}/base:1"
    text = f"FROM {base}\nRUN ln /etc/group /linked\nRUN test /etc/group -ef /linked\n"
    builder.build({"Dockerfile": text}, *FLAGS)
    assert builder.run("run", "x", "sh", "-c", "test /linked -ef /etc/group && cat /linked").out


def test_29_bytes_count_and_not_what_the_media_type_calls_them(registry, builder):
    packed = zstandard.ZstdCompressor().compress
    layers = (
        (OCI_LAYER_ZSTD, gzip.compress(plain("a")), of(plain("a")), {}),
        (OCI_LAYER_GZIP, plain("b"), of(plain("b")), {}),
        (OCI_LAYER, packed(plain("c")), of(plain("c")), {}),
    )
    image = put_image(registry, "called", *layers)
    assert " abc\n" in builder.build(over(registry, image, "cat /m/a /m/b /m/c; echo"), *FLAGS).err


def test_29_what_can_not_be_read_is_named(registry, builder):
    junk = b"\x1f\x8b\x08" + b"\x93" * 2000
    image = put_image(registry, "junk", (OCI_LAYER_GZIP, junk, of(plain("a")), {}))
    run = builder.build(over(registry, image, "ls /m"), *FLAGS, expect=1)
    assert f"ERROR: layer {of(junk)}: " in run.err


def test_30_content_other_than_the_config_s_is_refused(registry, builder):
    layer = (OCI_LAYER_GZIP, gzip.compress(plain("a")), of(plain("b")), {})
    image = put_image(registry, "other", layer)
    run = builder.build(over(registry, image, "ls /m"), *FLAGS, expect=1)
    assert f"content of layer {of(plain('b'))} is {of(plain('a'))}" in run.err
    assert list((builder.root / "snapshots").iterdir()) == []


def test_33_a_table_other_than_the_manifest_s_is_refused(registry, builder):
    blob, written = write([file("a", b"a")])
    layer = (OCI_LAYER_GZIP, blob, written.diff_id, {TOC_DIGEST: of(b"another")})
    image = put_image(registry, "table", layer)
    run = builder.build(over(registry, image, "ls /m"), *FLAGS, expect=1)
    assert f"TOC digest is {written.toc_digest}, the manifest says {of(b'another')}" in run.err
