"""JSON of OCI values: what goes in comes out, and what is hostile is refused with one sentence."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazybuild.errors import IntegrityError
from lazybuild.oci import codec, digest
from lazybuild.oci.descriptor import DOCKER_MANIFEST, OCI_CONFIG, OCI_LAYER_GZIP, Descriptor
from lazybuild.oci.digest import DiffID
from lazybuild.oci.image import ContainerConfig, Healthcheck, History, ImageConfig, Index, Manifest

DIGEST = digest.of(b"x")
CONFIG = Descriptor(media_type=OCI_CONFIG, digest=DIGEST, size=2)
LAYER = Descriptor(
    media_type=OCI_LAYER_GZIP, digest=DIGEST, size=3, annotations={"b": "1", "a": ""}
)


def document(**changes):
    base = {
        "schemaVersion": 2,
        "config": {"mediaType": OCI_CONFIG, "digest": DIGEST, "size": 2},
        "layers": [{"mediaType": OCI_LAYER_GZIP, "digest": DIGEST, "size": 3}],
    }
    return json.dumps({k: v for k, v in (base | changes).items() if v is not ...}).encode()


def test_manifest_bytes_are_those_of_go():
    manifest = Manifest(config=CONFIG, layers=(LAYER,), annotations={"z": "<&>", "a": "\u2028"})
    assert codec.encode(manifest).decode() == (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",'
        f'"config":{{"mediaType":"{OCI_CONFIG}","digest":"{DIGEST}","size":2}},'
        f'"layers":[{{"mediaType":"{OCI_LAYER_GZIP}","digest":"{DIGEST}","size":3,'
        '"annotations":{"a":"","b":"1"}}],'
        '"annotations":{"a":"\\u2028","z":"\\u003c\\u0026\\u003e"}}'
    )


def test_config_bytes_are_those_of_go():
    config = ImageConfig(
        created="2024-01-01T00:00:00Z",
        architecture="amd64",
        os="linux",
        config=ContainerConfig(
            env=("PATH=/bin",), cmd=("sh",), exposed_ports=("80/tcp",), labels={"b": "2", "a": "1"}
        ),
        diff_ids=(DiffID(DIGEST),),
        history=(History(created_by="RUN a && b", empty_layer=True),),
    )
    assert codec.encode(config).decode() == (
        '{"created":"2024-01-01T00:00:00Z","architecture":"amd64","os":"linux","config":'
        '{"ExposedPorts":{"80/tcp":{}},"Env":["PATH=/bin"],"Cmd":["sh"],'
        '"Labels":{"a":"1","b":"2"}},'
        f'"rootfs":{{"type":"layers","diff_ids":["{DIGEST}"]}},'
        '"history":[{"created_by":"RUN a \\u0026\\u0026 b","empty_layer":true}]}'
    )


def test_round_trips():
    health = Healthcheck(test=("CMD", "true"), interval=5, retries=3)
    config = ImageConfig(
        architecture="arm64",
        os="linux",
        os_version="1",
        os_features=("a",),
        variant="v9",
        author="me",
        config=ContainerConfig(
            user="1:2",
            volumes=("/a", "/b"),
            entrypoint=("e",),
            healthcheck=health,
            args_escaped=True,
            on_build=("RUN x",),
            shell=("sh", "-c"),
            stop_signal="9",
            working_dir="/w",
            extra={"Domainname": "", "Hostname": "h", "AttachStdin": False},
        ),
        extra={"container": "abc", "docker_version": "1"},
    )
    assert codec.parse_config(codec.encode(config)) == config
    manifest = Manifest(config=CONFIG, layers=(LAYER, LAYER), subject=CONFIG, artifact_type="a/b")
    assert codec.parse_manifest(codec.encode(manifest)) == manifest
    child = dataclasses.replace(CONFIG, platform={"architecture": "amd64", "os": "linux"})
    index = Index(manifests=(child,), annotations={"a": "b"})
    assert codec.parse_index(codec.encode(index)) == index
    assert codec.parse_descriptor(codec.encode(LAYER)) == LAYER


def test_nulls_of_docker_count_as_absent():
    raw = b'{"config":{"Cmd":null,"Env":null,"Volumes":null,"Labels":null},"rootfs":null}'
    config = codec.parse_config(raw)
    assert (config.config.cmd, config.config.env, config.diff_ids) == (None, (), ())


def test_text_that_is_not_utf8_becomes_the_replacement():
    config = ImageConfig(author="\udcff")
    assert b'"author":"\\ufffd"' in codec.encode(config)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", ""),
        (b"[]", ""),
        (b"\xff\xfe{}", ""),
        (b"{" * 100_000, ""),
        (b'{"config":' * 200_000 + b"1", ""),
        (b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}", ""),
        (b" " * (codec.MAX_BYTES + 1), ""),
        (document(schemaVersion=1), ""),
        (document(schemaVersion=...), ""),
        (document(manifests=[]), ""),
        (document(config=...), ""),
        (document(config=None, manifests=[]), ""),
        (document(mediaType="text/html"), ""),
        (document(mediaType=DOCKER_MANIFEST), "application/vnd.oci.image.manifest.v1+json"),
        (document(layers=[{"digest": DIGEST, "size": -1}]), ""),
        (document(layers=[{"digest": DIGEST}]), ""),
        (document(layers=[{"digest": DIGEST, "size": 1 << 63}]), ""),
        (document(layers=[{"digest": DIGEST, "size": 1.5}]), ""),
        (document(layers=[{"digest": "sha256:../../x", "size": 1}]), ""),
        (document(layers=[{"digest": DIGEST.upper(), "size": 1}]), ""),
        (document(annotations={"a": 1}), ""),
    ],
)
def test_hostile_manifests_are_refused(data, said):
    with pytest.raises(IntegrityError):
        codec.parse_manifest(data, said)


@pytest.mark.parametrize(
    "data",
    [
        b'{"rootfs":{"diff_ids":["md5:1"]}}',
        b'{"history":[1]}',
        b'{"config":{"Env":["a",2]}}',
        b'{"x":NaN}',
        b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    ],
)
def test_hostile_configs_are_refused(data):
    with pytest.raises(IntegrityError):
        codec.parse_config(data)


def test_describe_names_the_bytes():
    manifest = Manifest(config=CONFIG)
    found = codec.describe(manifest)
    assert (found.digest, found.size) == (
        digest.of(codec.encode(manifest)),
        len(codec.encode(manifest)),
    )


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(DIGEST)
KEYS = st.sampled_from(
    [
        *("schemaVersion", "mediaType", "config", "layers", "manifests", "annotations", "digest"),
        *("size", "rootfs", "diff_ids", "history", "Env", "Labels", "Volumes", "platform"),
        *("urls", "os", "variant", "created"),
    ]
)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5)
)


@given(st.dictionaries(KEYS, TREES, max_size=8))
def test_what_is_read_is_written_and_read_the_same(tree):
    data = json.dumps(tree | {"schemaVersion": 2}).encode()
    for parse in (codec.parse_document, codec.parse_config, codec.parse_descriptor):
        try:
            value = parse(data)
        except IntegrityError:
            continue
        assert parse(codec.encode(value)) == value


@given(st.binary(max_size=200))
def test_bytes_never_give_anything_but_an_integrity_error(data):
    for parse in (codec.parse_document, codec.parse_config, codec.parse_descriptor):
        try:
            parse(data)
        except IntegrityError:
            continue
