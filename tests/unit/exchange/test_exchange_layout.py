"""Caches in directories: written whole, read with suspicion, pruned."""

import json
import os

import pytest

from lazybuild.errors import IntegrityError, UsageError
from lazybuild.exchange.layout import Layout
from lazybuild.exporters.base import ImageBlob
from lazybuild.oci import codec, digest
from lazybuild.oci.descriptor import OCI_LAYER_GZIP, Descriptor
from lazybuild.oci.image import Manifest


def blob(folder, data):
    path = folder / "source"
    path.write_bytes(data)
    found = Descriptor(media_type=OCI_LAYER_GZIP, digest=digest.of(data), size=len(data))
    return ImageBlob(descriptor=found, open=lambda: path.open("rb"))


def write(folder, layout, data, tag="latest"):
    layer = blob(folder, data)
    config = b'{"version":1}' + data
    described = Descriptor(media_type="c", digest=digest.of(config), size=len(config))
    manifest = codec.encode(Manifest(config=described, layers=(layer.descriptor,)))
    layout.write(manifest, config, [layer], tag)
    return manifest, config, layer.descriptor


def test_what_is_written_can_be_read_by_tag_and_by_digest(tmp_path):
    layout = Layout(tmp_path / "cache")
    manifest, config, layer = write(tmp_path, layout, b"layer")
    assert layout.manifest("latest") == manifest
    assert layout.manifest("other", digest.of(manifest)) == manifest
    assert layout.read(digest.of(config), 100) == config
    copied = bytearray()
    layout.copy(layer, copied.extend)
    assert bytes(copied) == b"layer"


def test_a_new_cache_takes_the_place_of_the_old_and_what_it_needed_goes(tmp_path):
    layout = Layout(tmp_path / "cache")
    write(tmp_path, layout, b"old")
    write(tmp_path, layout, b"kept", tag="other")
    manifest, _, _ = write(tmp_path, layout, b"new")
    assert layout.manifest("latest") == manifest
    assert len(list((tmp_path / "cache/blobs/sha256").iterdir())) == 6
    assert digest.hex_part(digest.of(b"old")) not in os.listdir(tmp_path / "cache/blobs/sha256")
    assert layout.manifest("other")


def test_a_directory_that_holds_other_things_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("x")
    with pytest.raises(UsageError, match="other things"):
        write(tmp_path, Layout(tmp_path), b"x")
    assert sorted(os.listdir(tmp_path)) == ["precious", "source"]


def test_nothing_is_read_that_is_not_what_it_should_be(tmp_path):
    place = tmp_path / "cache"
    layout = Layout(place)
    with pytest.raises(IntegrityError, match="No such file"):
        layout.manifest("latest")
    manifest, config, _ = write(tmp_path, layout, b"layer")
    with pytest.raises(IntegrityError, match="no cache"):
        layout.manifest("absent")
    path = place / "blobs/sha256" / digest.hex_part(digest.of(config))
    path.write_bytes(b"other")
    with pytest.raises(IntegrityError, match="damaged"):
        layout.read(digest.of(config), 100)
    with pytest.raises(IntegrityError, match="larger"):
        layout.read(digest.of(manifest), 10)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(IntegrityError, match="not a regular file"):
        layout.read(digest.of(config), 100)
    (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [{}]}))
    with pytest.raises(IntegrityError):
        layout.manifest("latest")
