"""Images as sources: what of a manifest is believed, and what is refused before a byte is read."""

import json

import pytest
from support.registry import LocalRegistry

from lazybuild.errors import BuildError, IntegrityError
from lazybuild.estargz.tail import PODMAN_CHECKSUM
from lazybuild.oci import platform, reference
from lazybuild.oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, TOC_DIGEST
from lazybuild.registry.client import Registry
from lazybuild.request import Pull
from lazybuild.sources.images import Images
from lazybuild.store import Store

DIGEST = "sha256:" + "a" * 64
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
ENCRYPTED = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"
DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


@pytest.fixture
def place():
    with LocalRegistry() as registry:
        yield registry


@pytest.fixture
def images(tmp_path):
    with Store(tmp_path / "store") as store, Registry() as registry:
        yield Images(store, lambda: registry)


def push(place, *, annotations=None, media_type=OCI_LAYER_GZIP, layers=1, diff_ids=1):
    config = {
        "architecture": platform.host().architecture,
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [DIGEST] * diff_ids},
    }
    blob = place.put_blob("x", b"not looked at")
    data = json.dumps(config).encode()
    layer = {"mediaType": media_type, "digest": blob, "size": 13, "annotations": annotations or {}}
    described = {"mediaType": OCI_CONFIG, "digest": place.put_blob("x", data), "size": len(data)}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described,
        "layers": [layer] * layers,
    }
    place.put_manifest("x", json.dumps(manifest).encode(), tag="1")
    return reference.parse(f"{place.host}/x:1")


def layer_of(images, ref):
    snapshot = images.snapshot(images.find(ref, platform.host()))
    return images._store.meta.layer(snapshot.layers[0])


@pytest.mark.parametrize("name", [TOC_DIGEST, PODMAN_CHECKSUM])
def test_the_toc_that_a_manifest_vouches_for_is_known_and_nothing_is_fetched(place, images, name):
    layer = layer_of(images, push(place, annotations={name: DIGEST}))
    assert layer.toc_digest == DIGEST
    assert [item for item in place.log if layer.descriptor.digest in item.path] == []


def test_a_layer_that_claims_two_formats_is_refused(place, images):
    ref = push(place, annotations={TOC_DIGEST: DIGEST, PODMAN_CHECKSUM: DIGEST})
    with pytest.raises(IntegrityError, match="claims to be both"):
        layer_of(images, ref)


@pytest.mark.parametrize("media_type", [FOREIGN, DOCKER_FOREIGN])
def test_a_foreign_layer_is_refused(place, images, media_type):
    with pytest.raises(BuildError, match="foreign"):
        layer_of(images, push(place, media_type=media_type))


def test_an_encrypted_layer_is_called_so(place, images):
    with pytest.raises(BuildError, match="encrypted"):
        layer_of(images, push(place, media_type=ENCRYPTED))


def test_layers_and_diff_ids_must_agree(place, images):
    with pytest.raises(IntegrityError, match="2 layers, but 1 diff IDs"):
        layer_of(images, push(place, layers=2))


def test_what_one_manifest_says_of_a_blob_is_not_taken_for_what_another_says(place, images):
    """Lazily nobody sees whether blob and TOC belong together: a stranger may name any TOC."""
    other = "sha256:" + "b" * 64
    images = Images(images._store, images._registry, pull=Pull.ALWAYS)
    hostile = layer_of(images, push(place, annotations={TOC_DIGEST: other}))
    honest = layer_of(images, push(place, annotations={TOC_DIGEST: DIGEST}))
    plain = layer_of(images, push(place))
    assert hostile.descriptor.digest == honest.descriptor.digest == plain.descriptor.digest
    assert [it.toc_digest for it in (hostile, honest, plain)] == [other, DIGEST, None]
    assert len({hostile.id, honest.id, plain.id}) == 3
    assert layer_of(images, push(place, annotations={TOC_DIGEST: DIGEST})).id == honest.id
