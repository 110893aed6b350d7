"""Whole builds against a registry that fails, as section and number of each fault name them."""

import subprocess

import pytest
from support.faults import ALWAYS, Fault

pytestmark = [pytest.mark.rootless, pytest.mark.usefixtures("faultless")]

OFF = ("--profile-from", "off", "--profile-to", "off", "-t", "x")
READ = "RUN cat /bin/perl /bin/ls > /dev/null && echo re''ad\n"
BLOB = r"/base/blobs/sha256"


def files(registry, text=READ):
    return {"Dockerfile": f"FROM {registry.host}/base:1\n{text}"}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(path="/manifests/", status=503), id="1-manifest-503"),
        pytest.param(Fault(method="GET", path=BLOB, status=502, after=1), id="1-blob-502"),
        pytest.param(
            Fault(path="/manifests/", status=429, headers={"Retry-After": "1"}), id="2-busy"
        ),
        pytest.param(Fault(method="GET", path=BLOB, reset=True, after=2), id="6-reset"),
        pytest.param(Fault(method="GET", path=BLOB, flip=5000, after=8), id="12-flipped-bit"),
    ],
)
def test_a_fault_that_passes_does_not_fail_the_build(registry, builder, fault):
    registry.fault(fault)
    run = builder.build(files(registry), *OFF)
    assert " read\n" in run.err


def test_no_5_a_dead_credential_fails_before_the_step_begins(registry, builder):
    registry.fault(Fault(method="GET", path=BLOB, status=403, after=1, times=ALWAYS))
    run = builder.build(files(registry), *OFF, expect=104)
    assert " read\n" not in run.err
    assert "403" in run.err


def test_no_89_a_range_other_than_the_one_asked_for_is_not_taken(registry, builder):
    wrong = Fault(method="GET", path=BLOB, content_range="bytes 0-9/10", times=ALWAYS)
    registry.fault(wrong)
    run = builder.build(files(registry), *OFF, expect=104)
    assert "bytes 0-9/10" in run.err


def test_no_12_what_stays_corrupt_fails_the_build_and_names_the_chunk(registry, builder):
    registry.fault(Fault(method="GET", path=BLOB, flip=100, after=6, times=ALWAYS))
    run = builder.build(files(registry, "RUN cat /bin/* > /dev/null; true\n"), *OFF, expect=1)
    assert "corrupt" in run.err or "digest" in run.err
    registry.script.clear()
    again = builder.build(files(registry, "RUN cat /bin/* > /dev/null; true\n"), *OFF)
    assert not again.step("RUN")["cached"]


def test_no_13_a_corrupt_chunk_of_the_store_is_fetched_again(registry, builder):
    builder.build(files(registry), *OFF)
    for path in (builder.root / "chunks").rglob("*"):
        if path.is_file():
            path.write_bytes(b"\0" * path.stat().st_size)
    assert " read\n" in builder.build(files(registry), *OFF, "--no-cache").err


def test_no_39_a_chunk_cache_that_is_removed_is_made_anew(registry, builder):
    process = builder.started(
        files(registry, "RUN echo be''gun; sleep 1; cat /bin/* > /dev/null\n"), *OFF,
        until=" begun\n",
    )  # fmt: skip
    subprocess.run(["rm", "-rf", builder.root / "chunks"], check=True)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(method="PUT", path="/made/", status=500), id="16-500"),
        pytest.param(Fault(method="PATCH|PUT", path="/made/blobs", status=404), id="16-lost"),
        pytest.param(Fault(method="PUT", path="/made/manifests", reset=True), id="16-reset"),
        pytest.param(
            Fault(method="POST", path="/made/", status=429, headers={"Retry-After": "1"}),
            id="16-busy",
        ),
    ],
)
def test_no_16_a_push_goes_on_after_a_fault(registry, builder, fault):
    registry.fault(fault)
    name = f"{registry.host}/made:{fault.status}{fault.reset}"
    builder.build(files(registry), *OFF[:4], "-t", name, "--push")
    assert registry.content.manifest("made", name.rpartition(":")[2])


def test_no_17_a_blob_that_can_not_be_mounted_is_copied(registry, builder):
    registry.mount = False
    builder.build(files(registry), *OFF[:4], "-t", f"{registry.host}/copied:1", "--push")
    assert registry.content.manifest("copied", "1")


def test_no_79_a_manifest_that_is_too_large_is_refused(registry, builder):
    registry.fault(Fault(path="/manifests/", status=200, body=b" " * (5 << 20), times=ALWAYS))
    run = builder.run("build", *OFF, builder.context(files(registry)), expect=104)
    assert "more than 4194304 bytes" in run.err


def test_copying_one_file_of_an_image_fetches_its_chunks_only_and_needs_no_namespace(
    registry, builder
):
    text = f"FROM scratch\nCOPY --from={registry.host}/base:1 /etc/group /group\n"
    before = len(registry.log)
    run = builder.build({"Dockerfile": text}, *OFF)
    blobs = [item for item in registry.log[before:] if "/base/blobs/" in item.path]
    assert run.stats["tier"] == "T0"
    layer = builder.build(files(registry), *OFF).stats["layers"][0]
    assert 0 < sum(item.sent for item in blobs) < 200_000 < layer["size"]
