"""Whole builds against registries that fail in the middle: tokens and signed addresses that end,
silence, absence, certificates, mirrors, credential helpers. By number of the fault.
"""

import gzip
import json
import re
import socket
import threading
import time
from pathlib import Path

import pytest
from support import certificates, tars
from support.building import Builder
from support.faults import ALWAYS, Fault
from support.images import put_image
from support.registry import LocalRegistry
from support.registry_door import Door
from support.tiny_image import noise

from lazybuild.oci.descriptor import OCI_LAYER_GZIP
from lazybuild.oci.digest import of

pytestmark = [pytest.mark.rootless, pytest.mark.usefixtures("faultless")]

OFF = ("--profile-from", "off", "--profile-to", "off", "-t", "x")
QUICK = ("--retry-delay", "0.1s", "--registry-timeout", "0.7s")
BLOB = r"/base/blobs/sha256"
BEGUN = " begun\n"
LATER = "RUN echo be''gun; sleep 1; cat /bin/perl /bin/ls > /dev/null && echo re''ad\n"


def files(registry, text=LATER):
    return {"Dockerfile": f"FROM {registry.host}/base:1\n{text}"}


def finished(process):
    _, err = process.communicate(timeout=60)
    return process.returncode, err.decode()


def until(process, mark):
    seen = b""
    while mark.encode() not in seen:
        line = process.stderr.readline()
        assert line, seen.decode()
        seen += line
    return seen.decode()


def ranges(registry, status):
    """The ranges of blobs that were answered so."""
    return [it.range for it in registry.requests("GET", "/blobs/") if it.status == status]


# --- tokens and signed addresses -----------------------------------------------------------------


def test_no_3_and_4_a_token_and_a_signed_address_end_in_the_middle(registry, builder):
    """All readers share one new token, and each range is asked for again where it was refused."""
    door = Door(kind="token", anonymous_pull=True)
    with LocalRegistry(twin=registry) as cdn, LocalRegistry(twin=registry, door=door) as asked:
        asked.fault(Fault(path="/token", status=503))
        asked.fault(signed("old", cdn))
        reads = " & ".join(f"cat /bin/{name} > /dev/null" for name in ("perl", "ls", "grep"))
        step = f"RUN echo be''gun; sleep 1; {reads} & wait\n"
        process = builder.started(files(asked, step), *OFF, *QUICK, until=BEGUN)
        asked.script.clear()
        asked.fault(signed("new", cdn))
        cdn.fault(Fault(path="=old", status=403, times=ALWAYS))
        door.revoke()
        given = door.given
        code, err = finished(process)
        assert code == 0, err
        refused = ranges(cdn, 403)
        assert refused
        assert set(refused) <= set(ranges(cdn, 206))
        assert ranges(asked, 401)
        assert door.given == given + 1
        assert not [it for it in cdn.log if it.authorization]


def signed(key, cdn):
    query = f"X-Amz-Signature={key}"
    return Fault(method="GET", path=BLOB, redirect=cdn.url, query=query, times=ALWAYS)


def test_no_1_and_12_a_mirror_with_faults_is_left_for_the_origin(registry, builder):
    with LocalRegistry(twin=registry) as mirror:
        mirror.fault(Fault(path="/manifests/", status=500, times=ALWAYS))
        mirror.fault(Fault(method="GET", path=BLOB, flip=3000, after=6, times=ALWAYS))
        place = builder.folder / ".config/containers/registries.conf"
        place.parent.mkdir(parents=True)
        place.write_text(
            f'[[registry]]\nlocation = "{registry.host}"\n[[registry.mirror]]\n'
            f'location = "{mirror.host}"\ninsecure = true\n'
        )
        run = builder.build(
            files(registry, "RUN cat /bin/* > /dev/null && echo re''ad\n"), *OFF, *QUICK
        )
        assert " read\n" in run.err
        assert mirror.requests("GET", "/manifests/")
        assert mirror.requests("GET", "/blobs/")
        assert registry.requests("GET", "/manifests/")


def test_no_2_a_spent_allowance_is_no_matter_of_waiting(registry, builder):
    said = {
        "errors": [{"code": "TOOMANYREQUESTS", "message": "You have reached your pull rate limit."}]
    }
    registry.fault(Fault(status=429, body=json.dumps(said).encode(), times=ALWAYS))
    before = len(registry.log)
    run = builder.build(files(registry), *OFF, expect=104)
    assert "pull rate limit" in run.err
    assert "lazybuild login" in run.err
    assert len(registry.log) - before <= 2


# --- silence and absence -------------------------------------------------------------------------


def test_no_6_and_7_what_stalls_or_ends_is_resumed_where_it_stopped(registry, builder):
    process = builder.started(files(registry), *OFF, *QUICK, until=BEGUN)
    registry.fault(Fault(method="GET", path=BLOB, stall=300))
    registry.fault(Fault(method="GET", path=BLOB, cut=700))
    before = len(registry.log)
    code, err = finished(process)
    assert code == 0, err
    assert " read\n" in err
    asked = [it for it in registry.log[before:] if it.range]
    broken = [it for it in asked if it.sent < length(it)]
    assert sorted(it.sent for it in broken) == [300, 700]
    for it in broken:
        start, end = bounds(it)
        assert f"bytes={start + it.sent}-{end}" in [other.range for other in asked]


def bounds(exchange):
    start, end = map(int, re.findall(r"\d+", exchange.range))
    return start, end


def length(exchange):
    start, end = bounds(exchange)
    return end - start + 1


def test_no_8_a_name_that_is_none_and_a_port_that_says_nothing(builder):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for host, words in (
            ("registry.invalid", "DNS"),
            (f"127.0.0.1:{silent.getsockname()[1]}", "stalled"),
        ):
            text = {"Dockerfile": f"FROM {host}/base:1\n"}
            run = builder.build(text, *OFF, *QUICK, "--retry", "1", expect=104)
            assert host in run.err
            assert words in run.err
            assert "2 attempts" in run.err


def test_no_9_certificates_are_no_matter_of_waiting(registry, builder, tmp_path):
    (tmp_path / "tls").mkdir()
    pair = certificates.make(tmp_path / "tls")
    with LocalRegistry(twin=registry, certificate=pair.server) as secure:
        run = builder.build(files(secure), *OFF, expect=104)
        assert "certificate" in run.err
        assert "--cert-dir" in run.err
        assert "attempts" not in run.err
        assert builder.build(files(secure), *OFF, "--cert-dir", pair.authority.parent).code == 0
    place = builder.folder / ".config/containerd/certs.d" / registry.host
    place.mkdir(parents=True)
    (place / "hosts.toml").write_text(f'server = "https://{registry.host}"\n')
    run = builder.build(files(registry), *OFF, "--pull", expect=104)
    assert "TLS" in run.err
    assert "--insecure-registry" in run.err


@pytest.mark.parametrize(
    "fault",
    [
        Fault(method="GET", path=BLOB, status=416, after=1),
        Fault(method="GET", path=BLOB, ignore_range=True, times=ALWAYS),
    ],
    ids=["11-416", "10-ignored"],
)
def test_no_10_and_11_a_host_without_ranges_is_read_whole_once_and_that_is_said(
    registry, builder, fault
):
    registry.fault(fault)
    before = len(registry.log)
    run = builder.build(files(registry), *OFF)
    assert " read\n" in run.err
    assert run.err.count(f"lazy off for {registry.host}") == 1
    asked = [it for it in registry.log[before:] if it.method == "GET" and "/blobs/" in it.path]
    assert len(asked) <= 12, "those that were under way, and one that reads it all"


def test_no_14_a_registry_that_comes_back_is_waited_for_and_that_is_said(registry, builder):
    process = builder.started(files(registry), *OFF, *QUICK, until=BEGUN)
    registry.fault(Fault(method="GET", path="/blobs/", reset=True, times=ALWAYS))
    assert f"waiting for {registry.host}" in until(process, "waiting for")
    registry.script.clear()
    code, err = finished(process)
    assert code == 0, err
    assert " read\n" in err


def test_no_14_a_registry_that_stays_away_is_an_infrastructure_failure(registry, builder):
    text = LATER.replace("&& echo re''ad", "; true")
    flags = (*QUICK, "--retry", "1", "--registry-patience", "1s")
    process = builder.started(files(registry, text), *OFF, *flags, until=BEGUN)
    registry.fault(Fault(method="GET", path="/blobs/", reset=True, times=ALWAYS))
    began = time.monotonic()
    code, err = finished(process)
    assert code == 104, err
    assert time.monotonic() - began < 60, "not the two minutes of default patience"
    registry.script.clear()
    assert not builder.build(files(registry, text), *OFF).step("RUN")["cached"]


def test_no_15_and_78_a_tag_that_moves_changes_no_build_and_what_is_deleted_is_told_so(
    registry, builder
):
    tar = tars.tar([tars.file("other", b"other")])
    layer = (OCI_LAYER_GZIP, gzip.compress(tar), of(tar), {})
    _, manifest, _ = registry.content.manifest("base", "1")
    base = registry.content.repository("base")
    registry.content.repository("moving").blobs.update(base.blobs)
    registry.put_manifest("moving", manifest, tag="1")
    text = {"Dockerfile": f"FROM {registry.host}/moving:1\n{LATER}RUN cat /bin/sort > /dev/null\n"}
    process = builder.started(text, *OFF, until=BEGUN)
    put_image(registry, "moving", layer)
    code, err = finished(process)
    assert code == 0, err
    other = Builder(builder.folder / "other")
    registry.put_manifest("moving", manifest, tag="1")
    process = other.started(text, *OFF, until=BEGUN)
    registry.fault(Fault(method="GET", path="/moving/", status=404, times=ALWAYS))
    code, err = finished(process)
    assert code == 104, err
    assert "deleted during this build" in err


# --- pushes, caches, memory, helpers -------------------------------------------------------------


def test_no_18_of_two_pushes_of_one_tag_the_last_wins_and_each_knows_its_own(registry, tmp_path):
    name = f"{registry.host}/raced:1"
    builders = [Builder(tmp_path / str(number)) for number in range(2)]
    runs = {}

    def push(builder):
        text = {"Dockerfile": "FROM scratch\nCOPY f /\n", "f": builder.folder.name}
        runs[builder] = builder.build(text, "-t", name, "--push")

    threads = [threading.Thread(target=push, args=(builder,)) for builder in builders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    digests = {run.digest for run in runs.values()}
    assert len(digests) == 2
    assert registry.content.manifest("raced", "1")[0] in digests


def test_no_19_a_cache_that_is_corrupt_is_a_warning(registry, builder):
    name = f"{registry.host}/cache:1"
    text = files(registry, "RUN echo x > /x\n")
    registry.fault(Fault(method="PUT", path="/cache/manifests", status=400))
    run = builder.build(text, *OFF, "--cache-to", name)
    assert "was not written" in run.err
    registry.put_manifest("cache", b'{"schemaVersion": 2, "layers": 5', tag="1")
    other = Builder(builder.folder / "other")
    run = other.build(text, *OFF, "--cache-from", name)
    assert "can't be used" in run.err
    assert not run.step("RUN")["cached"]


def test_no_27_memory_does_not_grow_with_the_layer(registry, builder):
    """It is fetched, checked and unpacked as it comes, not held."""
    peaks = []
    for megabytes in (4, 120):
        tar = tars.tar([tars.file("data", noise(1 << 20) * megabytes)])
        blob = gzip.compress(tar, 0)
        name = put_image(registry, f"large{megabytes}", (OCI_LAYER_GZIP, blob, of(tar), {}))
        step = f"RUN --mount=from={name},target=/m test -s /m/data\n"
        with builder.start("build", *OFF, builder.context(files(registry, step))) as process:
            peaks.append(peak(process))
            assert process.wait() == 0, process.stderr.read().decode()
    assert peaks[1] - peaks[0] < 80, peaks


def peak(process):
    """The most memory of a running process until its end, in megabytes."""
    most = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s*(\d+) kB", status)
        most = max(most, int(found[1]) >> 10 if found else 0)
        time.sleep(0.02)
    return most


@pytest.mark.parametrize(
    ("script", "words"),
    [("exec sleep 20", "no answer within 0.7 s"), ("echo sealed >&2; echo hm", "sealed")],
    ids=["hangs", "junk"],
)
def test_no_40_a_credential_helper_that_fails_is_named(registry, builder, script, words):
    folder = builder.folder / "bin"
    folder.mkdir()
    helper = folder / "docker-credential-bad"
    helper.write_text(f"#!/bin/sh\n{script}\n")
    helper.chmod(0o755)
    builder.environment["PATH"] = f"{folder}:{builder.environment['PATH']}"
    config = builder.folder / ".docker/config.json"
    config.parent.mkdir()
    config.write_text(json.dumps({"credHelpers": {registry.host: "bad"}}))
    with LocalRegistry(twin=registry, door=Door(kind="basic", users={"me": "secret"})) as closed:
        config.write_text(json.dumps({"credHelpers": {closed.host: "bad"}}))
        run = builder.build(files(closed), *OFF, *QUICK, expect=104)
    assert "docker-credential-bad" in run.err
    assert words in run.err
