"""Referrers by the API and by the fallback tag."""

import json

import pytest
from support.docker_registry import DockerRegistry
from support.faults import ALWAYS, Fault
from support.registry import LocalRegistry
from support.tiny_image import describe, noise, tiny_image

from lazybuild.errors import IntegrityError, RegistryError
from lazybuild.oci import codec
from lazybuild.oci.descriptor import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST
from lazybuild.oci.image import Manifest
from lazybuild.registry.push import Blob, ManifestToPush, from_bytes, push
from lazybuild.registry.referrers import fallback_tag, list_referrers, push_referrer

IMAGE = tiny_image()
PROFILE = "application/vnd.lazybuild.access-profile.v1+json"
EMPTY = describe(OCI_EMPTY, b"{}")


def artifact(kind: str = PROFILE, note: str = "1") -> ManifestToPush:
    value = Manifest(
        artifact_type=kind,
        config=EMPTY,
        layers=(EMPTY,),
        subject=IMAGE.descriptor,
        annotations={"note": note},
    )
    return ManifestToPush(data=codec.encode(value), media_type=OCI_MANIFEST)


def fill(lazy, name: str) -> None:
    blobs = [
        Blob(descriptor=IMAGE.config_descriptor, source=from_bytes(IMAGE.config)),
        Blob(descriptor=IMAGE.layer_descriptors[0], source=from_bytes(IMAGE.layers[0])),
        Blob(descriptor=EMPTY, source=from_bytes(b"{}")),
    ]
    push(lazy, name, blobs, [ManifestToPush(data=IMAGE.manifest, media_type=OCI_MANIFEST)])


@pytest.fixture(params=[True, False], ids=["api", "tag"])
def place(request):
    with LocalRegistry(referrers=request.param) as registry:
        yield registry


def test_what_is_pushed_is_found_again(client, place):
    lazy, name = client(), f"{place.host}/base"
    fill(lazy, name)
    assert list_referrers(lazy, name, IMAGE.descriptor.digest) == ()
    pushed = push_referrer(lazy, name, artifact())
    push_referrer(lazy, name, artifact("application/other"))
    push_referrer(lazy, name, artifact())
    (found,) = list_referrers(lazy, name, IMAGE.descriptor.digest, artifact_type=PROFILE)
    assert found.digest == pushed.digest
    assert dict(found.annotations) == {"note": "1"}
    assert len(list_referrers(lazy, name, IMAGE.descriptor.digest)) == 2


def test_the_fallback_tag_is_used_only_where_it_must_be(client, place):
    lazy, name = client(), f"{place.host}/base"
    fill(lazy, name)
    push_referrer(lazy, name, artifact(), tags=("profile",))
    tags = set(place.content.repository("base").tags)
    assert tags - {fallback_tag(IMAGE.descriptor.digest)} == {"profile"}
    assert (fallback_tag(IMAGE.descriptor.digest) in tags) != place.referrers


def test_the_tag_survives_another_writer(client):
    """Another one writes between our reading and our writing: ours is written again."""
    with LocalRegistry(referrers=False) as place:
        lazy, name = client(), f"{place.host}/base"
        fill(lazy, name)
        push_referrer(lazy, name, artifact(note="1"))
        tag = fallback_tag(IMAGE.descriptor.digest)
        before = place.content.repository("base").tags[tag]
        push_referrer(lazy, name, artifact(note="2"))
        place.content.repository("base").tags[tag] = before
        push_referrer(lazy, name, artifact(note="2"))
        assert len(list_referrers(lazy, name, IMAGE.descriptor.digest)) == 2


def test_a_manifest_without_a_subject_is_no_referrer(client, registry):
    plain = ManifestToPush(data=IMAGE.manifest, media_type=OCI_MANIFEST)
    with pytest.raises(IntegrityError, match="subject"):
        push_referrer(client(), f"{registry.host}/base", plain)


def page(*notes: str) -> bytes:
    found = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": describe("x", note.encode()).digest,
            "size": 1,
            "artifactType": PROFILE,
        }
        for note in notes
    ]
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}
    return json.dumps(value).encode()


def answer(registry, body: bytes, link: str, **more) -> None:
    headers = {"Content-Type": OCI_INDEX} | ({"Link": link} if link else {})
    registry.fault(Fault(path="/referrers/", status=200, headers=headers, body=body, **more))


def test_all_pages_are_read(client, registry):
    digest = IMAGE.descriptor.digest
    answer(registry, page("a"), f'</v2/base/referrers/{digest}?n=1>; rel="next"')
    answer(registry, page("b", "c"), "")
    assert len(list_referrers(client(), f"{registry.host}/base", digest)) == 3


def test_pages_in_a_circle_come_to_an_end(client, registry):
    digest = IMAGE.descriptor.digest
    answer(registry, page("a"), f'</v2/base/referrers/{digest}?n=1>; rel="next"', times=ALWAYS)
    with pytest.raises(RegistryError, match="don't come to an end"):
        list_referrers(client(), f"{registry.host}/base", digest)
    assert len(registry.log) == 2


def test_pages_on_another_host_are_not_followed(client, registry):
    with LocalRegistry() as other:
        answer(registry, page("a"), f'<{other.url}/x>; rel="next"')
        with pytest.raises(RegistryError, match="another host"):
            list_referrers(client(), f"{registry.host}/base", IMAGE.descriptor.digest)
        assert other.log == []


def test_a_page_of_many_megabytes_is_refused(client, registry):
    answer(registry, noise(5 << 20), "")
    with pytest.raises(RegistryError, match="more than"):
        list_referrers(client(), f"{registry.host}/base", IMAGE.descriptor.digest)


def test_debians_registry_has_only_the_tag(client, tmp_path):
    with DockerRegistry(tmp_path) as real:
        lazy, name = client(), f"{real.host}/base"
        fill(lazy, name)
        pushed = push_referrer(lazy, name, artifact())
        (found,) = list_referrers(lazy, name, IMAGE.descriptor.digest, artifact_type=PROFILE)
        assert found.digest == pushed.digest
