"""Access profiles in whole builds: recorded, pushed beside the base, found on a cold machine."""

import hashlib
import json
import subprocess

import pytest
from support.building import Builder, registry_with_base, settled
from support.faults import ALWAYS, Fault

from lazybuild.build import profile

pytestmark = pytest.mark.rootless

STEPS = "RUN cat /bin/perl > /dev/null\nRUN cat /bin/ls > /dev/null; echo x > /x\n"


@pytest.fixture
def registry(tmp_path):
    """One of its own for each test: profiles stay in it."""
    with registry_with_base(tmp_path / "base") as registry:
        yield registry


@pytest.fixture
def machine(folder):
    """Builders with a store of their own each, as many as are asked for."""
    made = []

    def make():
        made.append(Builder(folder / f"machine-{len(made)}"))
        return made[-1]

    yield make
    for builder in made:
        assert settled(builder.leftovers) == []


def files(registry, steps=STEPS):
    return {"Dockerfile": f"FROM {registry.host}/base:1\n{steps}"}


def base_layer(run):
    return next(layer for layer in run.stats["layers"] if layer["mode"] == "lazy")


def profiled(run):
    return [item for item in run.stats["prefetch"] if "profile" in item["from"]]


def blob_reads(registry, run):
    digest = base_layer(run)["digest"]
    return [item for item in registry.requests("GET") if digest in item.path]


def test_a_cold_machine_fetches_what_an_earlier_build_read(registry, machine):
    first = machine().build(files(registry))
    assert profiled(first) == []
    before = len(blob_reads(registry, first))
    second = machine().build(files(registry))
    assert [item["digest"] for item in profiled(second)] == [base_layer(second)["digest"]]
    layer = base_layer(second)
    assert 0 < layer["bytes_read"] <= layer["bytes_fetched"] <= 1.15 * layer["bytes_read"]
    assert len(blob_reads(registry, second)) - before <= before
    assert "access profile of 2 steps" in second.err


def test_where_the_registry_has_no_referrers_api_the_tag_is_used(registry, machine):
    registry.referrers = False
    machine().build(files(registry))
    puts = [item.path for item in registry.requests("PUT") if "/manifests/sha256-" in item.path]
    assert puts
    assert profiled(machine().build(files(registry)))


def test_the_same_store_needs_no_registry_for_it(registry, machine):
    builder = machine()
    builder.build(files(registry), "--profile-to", "off")
    assert registry.requests("PUT", "/base/manifests/sha256") == []
    subprocess.run(["rm", "-rf", builder.root / "chunks"], check=True)
    again = builder.build(files(registry), "--profile-from", "off", "--no-cache")
    assert profiled(again)


def test_a_step_is_known_by_its_command_when_what_stands_before_it_changed(registry, machine):
    machine().build(files(registry))
    changed = machine().build(files(registry, "RUN echo new > /new\n" + STEPS))
    assert profiled(changed)


def test_off_neither_asks_nor_tells(registry, machine):
    flags = ("--profile-from", "off", "--profile-to", "off")
    machine().build(files(registry), *flags)
    assert registry.requests("GET", "/referrers/") == []
    assert (
        registry.requests("POST", "/base/blobs/uploads/")[1:]
        == registry.requests("POST", "/base/blobs/uploads/")[1:]
    )
    assert not [item for item in registry.requests("PUT") if "/base/manifests/sha256" in item.path]


def test_another_repository_can_keep_the_profiles(registry, machine):
    place = f"{registry.host}/profiles"
    machine().build(files(registry), "--profile-to", place)
    assert registry.requests("PUT", "/profiles/manifests/")
    assert profiled(machine().build(files(registry), "--profile-from", place))


def test_nothing_is_pushed_when_nothing_was_learned(registry, machine):
    machine().build(files(registry))
    count = len(registry.requests("PUT"))
    machine().build(files(registry), "--profile-to", "")
    repeated = registry.requests("PUT")[count:]
    assert [item for item in repeated if "/manifests/" in item.path] == []


def test_a_repository_that_can_not_be_written_is_no_failure(registry, machine):
    registry.fault(Fault(method="POST", path="/base/blobs/uploads/", status=403, times=ALWAYS))
    builder = machine()
    run = builder.build(files(registry))
    assert "403 Forbidden" not in run.err
    told = builder.build(
        files(registry), "--no-cache", "--profile-to", f"{registry.host}/base", "--no-cache"
    )
    assert told.code == 0


def test_a_registry_that_fails_at_the_profile_does_not_fail_the_build(registry, machine):
    registry.fault(Fault(path="/referrers/", status=500, times=ALWAYS))
    assert machine().build(files(registry)).code == 0


def pushed_by_hand(registry, data):
    """A referrer of the base with these bytes as its profile."""
    with_base = registry.content.manifest("base", "1")
    digest = "sha256:" + hashlib.sha256(with_base[1]).hexdigest()
    blob, empty = registry.put_blob("base", data), registry.put_blob("base", b"{}")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": profile.MEDIA_TYPE,
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2
        },
        "layers": [{"mediaType": profile.MEDIA_TYPE, "digest": blob, "size": len(data)}],
        "subject": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest,
            "size": len(with_base[1]),
        },
    }  # fmt: skip
    registry.put_manifest("base", json.dumps(manifest).encode(), tag="evil")


@pytest.mark.parametrize(
    "data",
    [
        b"garbage",
        b"[" * 50_000,
        b'{"version":1,"steps":[{"keys":["../.."],"layers":{"../x":["../y"]}}]}',
    ],
)
def test_a_hostile_profile_changes_nothing(registry, machine, data):
    pushed_by_hand(registry, data)
    run = machine().build(files(registry))
    assert "is left out" in run.err
    assert profiled(run) == []
