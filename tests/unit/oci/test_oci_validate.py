"""Validation: a good image passes, and every single lie is found."""

import dataclasses
import gzip
import io
import zlib

import pytest
from support import validate

from lazybuild.errors import IntegrityError
from lazybuild.oci import codec, digest
from lazybuild.oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, TOC_DIGEST, Descriptor
from lazybuild.oci.digest import DiffID
from lazybuild.oci.image import ImageConfig, Index, Manifest


def gunzip(raw, media_type):
    try:
        return io.BytesIO(gzip.decompress(raw.read()))
    except (OSError, EOFError, zlib.error) as error:
        raise IntegrityError(f"bad gzip: {error}") from error


class World:
    def __init__(self):
        self.blobs = {}
        plain = b"tar" * 1000
        self.layer = self.put(gzip.compress(plain), OCI_LAYER_GZIP)
        self.config = ImageConfig(diff_ids=(DiffID(digest.of(plain)),))
        self.tocs = []

    def put(self, data, media_type):
        found = Descriptor(media_type=media_type, digest=digest.of(data), size=len(data))
        self.blobs[found.digest] = data
        return found

    def fetch(self, descriptor):
        return io.BytesIO(self.blobs[descriptor.digest])

    def manifest(self, config=None, layers=None):
        described = self.put(codec.encode(config or self.config), OCI_CONFIG)
        value = Manifest(config=described, layers=layers or (self.layer,))
        return self.put(codec.encode(value), value.media_type)

    def problems(self, top, check_toc=None):
        return list(validate.problems(top, self.fetch, gunzip, check_toc))


@pytest.fixture
def world():
    return World()


def test_a_good_image_and_a_good_index_have_no_problems(world):
    top = world.manifest()
    index = Index(manifests=(top, top))
    assert world.problems(top) == []
    assert world.problems(world.put(codec.encode(index), index.media_type)) == []


@pytest.mark.parametrize("change", [b"\0", b""])
def test_changed_bytes_are_found(world, change):
    top = world.manifest()
    for key in list(world.blobs):
        whole = world.blobs[key]
        world.blobs[key] = (whole + change) if change else whole[:-1]
        assert len(world.problems(top)) == 1, key
        world.blobs[key] = whole
    assert world.problems(top) == []


def test_a_flipped_bit_is_found(world):
    top = world.manifest()
    whole = world.blobs[world.layer.digest]
    world.blobs[world.layer.digest] = bytes([*whole[:5], whole[5] ^ 1, *whole[6:]])
    assert "has the digest" in world.problems(top)[0]


def test_a_wrong_diff_id_and_a_missing_one_are_found(world):
    wrong = dataclasses.replace(world.config, diff_ids=(DiffID(digest.of(b"")),))
    assert "diff ID" in world.problems(world.manifest(wrong))[0]
    missing = dataclasses.replace(world.config, diff_ids=())
    assert "1 layers but 0 diff IDs" in world.problems(world.manifest(missing))


def test_a_wrong_media_type_is_found(world):
    top = dataclasses.replace(world.manifest(), media_type=Index().media_type)
    assert world.problems(top)


def test_the_toc_is_asked_about(world):
    def check(layer, expected):
        raise IntegrityError(f"toc {expected}")

    layer = dataclasses.replace(world.layer, annotations={TOC_DIGEST: "sha256:1"})
    top = world.manifest(layers=(layer,))
    assert world.problems(top, check) == ["toc sha256:1"]
    with pytest.raises(IntegrityError, match="toc"):
        validate.validate(top, world.fetch, gunzip, check)


def test_an_index_that_holds_itself_ends(world):
    index = Index(manifests=())
    top = world.put(codec.encode(index), index.media_type)
    loop = world.put(codec.encode(Index(manifests=(top, top))), index.media_type)
    deep = loop
    for _ in range(2000):
        deep = world.put(codec.encode(Index(manifests=(deep,))), index.media_type)
    assert world.problems(deep) == []
