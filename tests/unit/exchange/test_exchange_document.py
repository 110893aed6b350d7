"""Caches as documents: what is written comes back, what is hostile does not get in."""

import json

import pytest

from lazybuild.errors import IntegrityError
from lazybuild.exchange import document
from lazybuild.exchange.document import CachedLayer, CacheDocument, CachedRecord
from lazybuild.exchange.places import manifest_of, understood
from lazybuild.oci import codec, digest
from lazybuild.oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, Descriptor
from lazybuild.oci.digest import DiffID
from lazybuild.oci.image import History, ImageConfig, Manifest

KEY = "ab" * 32


def layer(name, **more):
    found = Descriptor(media_type=OCI_LAYER_GZIP, digest=digest.of(name.encode()), size=len(name))
    return CachedLayer(
        descriptor=found, diff_id=DiffID(digest.of(name.encode() + b"diff")), created=7, **more
    )


def sample():
    foreign = layer("base", own=False)
    bare = Descriptor(media_type="", digest=foreign.descriptor.digest, size=0)
    foreign = CachedLayer(descriptor=bare, diff_id=foreign.diff_id, own=False, created=7)
    return CacheDocument(
        layers=(foreign, layer("one"), layer("two")),
        records={KEY: CachedRecord(layers=(0, 1, 2), name="[1/2] RUN x")},
        memos={"cd" * 32: "sha256:" + "0" * 64},
    )


def manifest(found):
    config = document.encode(found)
    return manifest_of(config, [item.descriptor for item in found.layers if item.own]), config


def test_a_document_comes_back_and_has_one_form():
    found = sample()
    described, config = manifest(found)
    assert understood(described, config) == found
    assert document.encode(understood(described, config)) == config
    assert described.config.digest == digest.of(config)


def test_an_image_can_hold_its_own_cache():
    layers = (layer("one"), layer("two"))
    config = ImageConfig(
        diff_ids=tuple(item.diff_id for item in layers),
        history=(History(created="1970-01-01T00:00:00.000000007Z"), History(empty_layer=True)),
        extra=document.inline(CacheDocument(records={KEY: CachedRecord(layers=(0, 1))})),
    )
    data = codec.encode(config)
    image = Manifest(
        config=Descriptor(media_type=OCI_CONFIG, digest=digest.of(data), size=len(data)),
        layers=tuple(item.descriptor for item in layers),
    )
    found = understood(image, data)
    assert [item.descriptor for item in found.of(found.records[KEY])] == list(image.layers)
    assert [item.created for item in found.layers] == [7, 0]
    plain = codec.encode(ImageConfig(diff_ids=config.diff_ids))
    with pytest.raises(IntegrityError, match="no cache"):
        understood(image, plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"version": None}, "makes no sense"),
        ({"records": [{"key": "x", "layers": []}]}, "not a cache key"),
        ({"records": [{"key": "../" * 21 + "a", "layers": []}]}, "not a cache key"),
        ({"records": [{"key": KEY, "layers": [3]}]}, "not there"),
        ({"records": [{"key": KEY, "layers": [-1]}]}, "not there"),
        ({"records": [{"key": KEY, "layers": [0] * 501}]}, "not there"),
        ({"records": [{"key": KEY, "layers": [1 << 70]}]}, "not there"),
        ({"records": {}}, "makes no sense"),
        ({"layers": [{"digest": "sha256:../../etc", "diffId": "sha256:" + "0" * 64}]}, "digest"),
        ({"layers": [{"digest": "sha256:" + "0" * 64, "diffId": "md5:0"}]}, "digest"),
        ({"memos": {KEY: "a\nb"}}, "not a digest of content"),
        ({"memos": {KEY: "x" * 201}}, "not a digest of content"),
        ({"memos": {f"{n:064x}": "x" for n in range(100_001)}}, "more than"),
    ],
)
def test_a_hostile_document_is_refused(change, message):
    described, config = manifest(sample())
    broken = json.loads(config) | change
    with pytest.raises(IntegrityError, match=message):
        document.parse(json.dumps(broken).encode(), described)


def test_a_huge_or_nested_document_is_refused():
    described, _ = manifest(sample())
    with pytest.raises(IntegrityError, match="over the limit"):
        document.parse(b" " * (document.MAX_BYTES + 1), described)
    with pytest.raises(IntegrityError, match="makes no sense"):
        document.parse(b'{"version":1,"x":' + b"[" * 100_000, described)


def test_names_are_shown_only_as_far_as_they_can_be():
    described, config = manifest(sample())
    broken = json.loads(config)
    broken["records"][0]["name"] = "\x1b[31mred\n::error::x"
    assert document.parse(json.dumps(broken).encode(), described).records[KEY].name == (
        "[31mred::error::x"
    )
