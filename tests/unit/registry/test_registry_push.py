"""Pushing: what is there is not sent, what breaks is resumed, what is elsewhere is not stored."""

import json
import threading

import pytest
from support.docker_registry import PASSWORD, USER, DockerRegistry
from support.faults import ALWAYS, Fault
from support.registry import LocalRegistry
from support.registry_door import Door
from support.tiny_image import describe, noise, tiny_image

from lazybuild.errors import BuildError, RegistryError
from lazybuild.oci.descriptor import OCI_INDEX, OCI_MANIFEST
from lazybuild.registry.push import (
    Blob,
    ManifestToPush,
    check_push,
    from_bytes,
    from_place,
    push,
    push_blob,
)
from lazybuild.registry.upload import Way
from lazybuild.store import Place

LARGE = noise(3_000_000)
IMAGE = tiny_image((LARGE, b"small layer"))


def blobs_of(image):
    pairs = zip(image.layer_descriptors, image.layers, strict=True)
    return [
        *(Blob(descriptor=d, source=from_bytes(data)) for d, data in pairs),
        Blob(descriptor=image.config_descriptor, source=from_bytes(image.config)),
    ]


def manifest_of(image, *tags: str) -> ManifestToPush:
    return ManifestToPush(data=image.manifest, media_type=OCI_MANIFEST, tags=tags)


def test_an_image_goes_up_with_children_first_and_its_tag_last(client, registry):
    done = push(client(), f"{registry.host}/out", blobs_of(IMAGE), [manifest_of(IMAGE, "v1", "v2")])
    assert done.descriptor.digest == IMAGE.descriptor.digest
    assert set(done.ways.values()) == {Way.UPLOADED}
    assert done.sent == len(LARGE) + len(b"small layer") + len(b"{}")
    puts = [x.path.rpartition("/")[2] for x in registry.requests("PUT", "/manifests/")]
    assert puts == ["v1", "v2"]
    assert registry.content.repository("out").tags == {
        "v1": IMAGE.descriptor.digest,
        "v2": IMAGE.descriptor.digest,
    }


def test_a_second_push_sends_nothing(client, registry):
    lazy = client()
    push(lazy, f"{registry.host}/out", blobs_of(IMAGE), [manifest_of(IMAGE, "v1")])
    done = push(lazy, f"{registry.host}/out", blobs_of(IMAGE), [manifest_of(IMAGE, "v1")])
    assert set(done.ways.values()) == {Way.THERE}
    assert done.sent == 0


def test_an_index_follows_its_manifests(client, registry):
    child = json.loads(json.dumps({"mediaType": OCI_MANIFEST, "digest": IMAGE.descriptor.digest}))
    data = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [child | {"size": len(IMAGE.manifest)}],
        }
    ).encode()
    index = ManifestToPush(data=data, media_type=OCI_INDEX, tags=("multi",))
    push(client(), f"{registry.host}/out", blobs_of(IMAGE), [manifest_of(IMAGE), index])
    refs = [x.path.rpartition("/")[2] for x in registry.requests("PUT", "/manifests/")]
    assert refs == [IMAGE.descriptor.digest, "multi"]


def test_a_blob_of_the_same_registry_is_mounted(client, registry):
    registry.put_blob("base", LARGE)
    blob = Blob(descriptor=describe("x", LARGE), origins=(f"{registry.host}/base",))
    assert push_blob(client(), f"{registry.host}/out", blob) is Way.MOUNTED
    assert not registry.requests("GET")
    assert sum(x.received for x in registry.log) == 0


def test_a_mount_that_is_refused_becomes_a_copy_as_a_stream(client):
    with LocalRegistry(mount=False) as registry:
        registry.put_blob("base", LARGE)
        blob = Blob(descriptor=describe("x", LARGE), origins=(f"{registry.host}/base",))
        assert push_blob(client(), f"{registry.host}/out", blob) is Way.COPIED
        assert describe("x", LARGE).digest in registry.content.repository("out").blobs
        assert len(registry.requests("POST")) == 1  # the upload that the refusal opened is used


def test_a_mount_without_the_right_to_it_becomes_a_copy(client, registry):
    registry.put_blob("base", LARGE)
    registry.fault(Fault(method="POST", path="mount=", status=403))
    blob = Blob(descriptor=describe("x", LARGE), origins=(f"{registry.host}/base",))
    assert push_blob(client(), f"{registry.host}/out", blob) is Way.COPIED


def test_a_blob_of_another_registry_is_streamed_through(client, registry):
    with LocalRegistry() as source:
        source.put_blob("base", LARGE)
        source.fault(Fault(path="/blobs/", cut=1_000_000))
        blob = Blob(descriptor=describe("x", LARGE), origins=(f"{source.host}/base",))
        assert push_blob(client(), f"{registry.host}/out", blob) is Way.COPIED
        assert sum(x.sent for x in source.log) == len(LARGE)


def test_an_upload_that_breaks_is_resumed(client, registry):
    registry.fault(Fault(method="PATCH", receive=1_200_000))
    blob = Blob(descriptor=describe("x", LARGE), source=from_bytes(LARGE))
    assert push_blob(client(), f"{registry.host}/out", blob) is Way.UPLOADED
    second = registry.requests("PATCH")[1]
    assert second.received == len(LARGE) - 1_200_000
    assert second.headers["content-range"] == "1200000-2999999"


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "HEAD"])
@pytest.mark.parametrize("status", [500, 503, 429])
def test_server_faults_do_not_stop_an_upload(client, registry, method, status):
    registry.fault(Fault(method=method, path="/blobs/", status=status, times=2))
    blob = Blob(descriptor=describe("x", LARGE), source=from_bytes(LARGE))
    assert push_blob(client(), f"{registry.host}/out", blob) is Way.UPLOADED


def test_an_upload_session_that_was_lost_is_begun_again(client, registry):
    registry.fault(Fault(method="PATCH", status=404, body=b"{}"))
    blob = Blob(descriptor=describe("x", LARGE), source=from_bytes(LARGE))
    assert push_blob(client(), f"{registry.host}/out", blob) is Way.UPLOADED
    assert len(registry.requests("POST")) == 2


def test_a_blob_that_arrived_although_the_answer_did_not_is_not_sent_again(client, registry):
    small = b"small"
    registry.put_blob("elsewhere", small)
    registry.fault(Fault(method="PUT", delay=1.0))
    blob = Blob(descriptor=describe("x", small), source=from_bytes(small))
    lazy = client()
    threading.Timer(0.3, lambda: registry.put_blob("out", small)).start()
    registry.fault(Fault(method="PUT", reset=True, delay=0.0))
    assert push_blob(lazy, f"{registry.host}/out", blob) is Way.UPLOADED


def test_a_body_too_large_for_a_proxy_goes_in_pieces(client, registry):
    registry.fault(Fault(method="PATCH", status=413))
    blob = Blob(descriptor=describe("x", LARGE), source=from_bytes(LARGE))
    assert push_blob(client(), f"{registry.host}/out", blob) is Way.UPLOADED
    assert [x.received for x in registry.requests("PATCH") if x.status == 202] == [
        1_048_576,
        1_048_576,
        len(LARGE) - 2 * 1_048_576,
    ]


def test_chunks_can_be_asked_for(client, registry):
    blob = Blob(descriptor=describe("x", LARGE), source=from_bytes(LARGE))
    push_blob(client(upload_chunk=1_000_000), f"{registry.host}/out", blob)
    assert [x.received for x in registry.requests("PATCH")] == [1_000_000] * 3


def test_a_source_that_is_too_short_is_no_upload(client, registry):
    blob = Blob(descriptor=describe("x", LARGE), source=from_bytes(LARGE[:-1]))
    with pytest.raises(RegistryError, match="1 bytes are missing"):
        push_blob(client(), f"{registry.host}/out", blob)
    assert not registry.content.repository("out").blobs


def test_a_source_with_wrong_bytes_is_refused_by_the_registry(client, registry):
    blob = Blob(descriptor=describe("x", LARGE), source=from_bytes(LARGE[:-1] + b"?"))
    with pytest.raises(RegistryError, match="digest invalid"):
        push_blob(client(), f"{registry.host}/out", blob)


def test_a_file_that_went_away_is_not_the_registrys_fault(client, registry, tmp_path):
    gone = Place(path=str(tmp_path / "gone"), size=len(LARGE))
    blob = Blob(descriptor=describe("x", LARGE), source=from_place(gone))
    with pytest.raises(BuildError, match="reading it failed"):
        push_blob(client(), f"{registry.host}/out", blob)


def test_a_manifest_put_is_repeated_after_a_fault(client, registry):
    registry.fault(Fault(method="PUT", path="/manifests/", status=502, times=2))
    push(client(), f"{registry.host}/out", blobs_of(IMAGE), [manifest_of(IMAGE, "v1")])
    assert len(registry.requests("PUT", "/manifests/")) == 3


def test_a_manifest_whose_children_are_missing_is_an_error(client, registry):
    with pytest.raises(RegistryError, match="manifest blob unknown"):
        push(client(), f"{registry.host}/out", [], [manifest_of(IMAGE, "v1")])


def test_a_registry_that_stores_something_else_is_noticed(client, registry):
    lie = {"Docker-Content-Digest": "sha256:" + "0" * 64}
    registry.fault(Fault(method="PUT", path="/manifests/", headers=lie))
    with pytest.raises(RegistryError, match="it says that it stored"):
        push(client(), f"{registry.host}/out", blobs_of(IMAGE), [manifest_of(IMAGE, "v1")])


@pytest.mark.parametrize("status", [403, 405])
def test_a_registry_that_takes_nothing_is_known_before_the_build(client, registry, status):
    registry.fault(Fault(method="POST", status=status, times=ALWAYS))
    with pytest.raises(RegistryError, match=str(status)):
        check_push(client(), f"{registry.host}/out")


def test_the_check_leaves_no_upload_behind(client, registry):
    check_push(client(), f"{registry.host}/out")
    assert not registry.content.uploads


def test_one_token_serves_the_whole_push(client):
    with LocalRegistry(door=Door(kind="token", users={"me": "pw"})) as registry:
        lazy = client(creds="me:pw")
        push(lazy, f"{registry.host}/out", blobs_of(IMAGE), [manifest_of(IMAGE, "v1")])
        assert registry.door.given == 1


def test_a_token_that_ends_during_an_upload_is_replaced(client):
    with LocalRegistry(door=Door(kind="token", users={"me": "pw"})) as registry:
        lazy = client(creds="me:pw")
        check_push(lazy, f"{registry.host}/out")
        registry.door.revoke()
        blob = Blob(descriptor=describe("x", LARGE), source=from_bytes(LARGE))
        assert push_blob(lazy, f"{registry.host}/out", blob) is Way.UPLOADED


def test_the_progress_ends_at_the_size(client, registry):
    seen = {}
    push(
        client(),
        f"{registry.host}/out",
        blobs_of(IMAGE),
        [manifest_of(IMAGE, "v1")],
        progress=lambda descriptor, place: seen.__setitem__(descriptor.digest, place),
    )
    assert seen == {b.descriptor.digest: b.descriptor.size for b in blobs_of(IMAGE)}


def test_the_first_failure_ends_the_push_before_the_tag(client, registry):
    registry.fault(Fault(method="PATCH", status=400, times=ALWAYS))
    with pytest.raises(RegistryError, match="400"):
        push(client(), f"{registry.host}/out", blobs_of(IMAGE), [manifest_of(IMAGE, "v1")])
    assert not registry.requests("PUT", "/manifests/")


def test_debians_registry_takes_and_gives_an_image(client, tmp_path):
    with DockerRegistry(tmp_path, password=True) as real:
        lazy = client(creds=f"{USER}:{PASSWORD}")
        done = push(lazy, f"{real.host}/a/out", blobs_of(IMAGE), [manifest_of(IMAGE, "v1")])
        assert set(done.ways.values()) == {Way.UPLOADED}
        fresh = client(creds=f"{USER}:{PASSWORD}")
        assert fresh.resolve(f"{real.host}/a/out:v1") == IMAGE.descriptor
        assert fresh.document(f"{real.host}/a/out:v1").data == IMAGE.manifest
        layer = IMAGE.layer_descriptors[0]
        assert b"".join(fresh.blob(f"{real.host}/a/out", layer)) == LARGE
        assert fresh.ranges([f"{real.host}/a/out"], layer).read_at(7, 9) == LARGE[7:16]
        mounted = Blob(descriptor=layer, origins=(f"{real.host}/a/out",))
        assert push_blob(fresh, f"{real.host}/b", mounted) is Way.MOUNTED
        check_push(fresh, f"{real.host}/c")


def test_a_wrong_password_at_debians_registry(client, tmp_path):
    with (
        DockerRegistry(tmp_path, password=True) as real,
        pytest.raises(RegistryError, match="not accepted"),
    ):
        client(creds=f"{USER}:no").resolve(f"{real.host}/a/out:v1")
