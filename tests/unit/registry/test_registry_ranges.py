"""Ranged reads: the happy way, and what registries and their CDNs do instead of it."""

import threading
import time

import pytest
from support.faults import ALWAYS, Fault
from support.registry import LocalRegistry
from support.tiny_image import describe, noise

from lazybuild.errors import IntegrityError, RegistryError
from lazybuild.events import Noted

DATA = noise(100_000)
BLOB = describe("application/vnd.oci.image.layer.v1.tar+gzip", DATA)


@pytest.fixture
def blob(client, registry):
    registry.put_blob("team/base", DATA)
    return client().ranges([f"{registry.host}/team/base"], BLOB)


def test_reads_exactly_the_range_asked_for(blob, registry):
    assert blob.read_at(1000, 500) == DATA[1000:1500]
    assert blob.read_at(99_999, 1) == DATA[-1:]
    assert blob.read_at(5, 0) == b""
    assert [x.range for x in registry.log] == ["bytes=1000-1499", "bytes=99999-99999"]
    assert blob.stats.requests == 2
    assert blob.stats.bytes == 501


def test_the_whole_blob_needs_no_range(blob, registry):
    assert blob.read_at(0, len(DATA)) == DATA
    assert registry.log[0].range == ""


def test_a_range_past_the_end_is_the_callers_error(blob):
    with pytest.raises(ValueError, match="range"):
        blob.read_at(99_999, 2)


def test_one_connection_serves_many_reads(blob, registry):
    for place in range(0, 5000, 100):
        blob.read_at(place, 100)
    assert {x.connection for x in registry.log} == {1}


def test_eight_threads_do_not_wait_for_each_other(client):
    with LocalRegistry(latency=0.02) as slow:
        slow.put_blob("base", DATA)
        blob = client().ranges([f"{slow.host}/base"], BLOB)
        began = time.monotonic()
        threads = [
            threading.Thread(target=lambda: [blob.read_at(i * 100, 100) for i in range(10)])
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began < 1.5  # 80 round trips one after the other take 1.6 s
        assert len({x.connection for x in slow.log}) <= 8


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_server_faults_are_retried(blob, registry, events, status):
    registry.fault(Fault(status=status, times=3))
    assert blob.read_at(0, 10) == DATA[:10]
    notes = [e.message for e in events if isinstance(e, Noted)]
    assert len(notes) == 3
    assert all(str(status) in note and registry.host in note for note in notes)


def test_server_faults_end_in_an_error_that_says_everything(blob, registry):
    registry.fault(Fault(status=503, times=ALWAYS))
    with pytest.raises(RegistryError) as caught:
        blob.read_at(0, 10)
    for part in ("GET", registry.host, "team/base", BLOB.digest, "503", "6 attempts"):
        assert part in caught.value.message
    assert caught.value.hint
    assert len(registry.log) == 6


def test_a_body_cut_short_is_resumed_where_it_ended(blob, registry):
    registry.fault(Fault(cut=3000))
    assert blob.read_at(10_000, 5000) == DATA[10_000:15_000]
    assert [x.range for x in registry.log] == ["bytes=10000-14999", "bytes=13000-14999"]


def test_a_reset_connection_is_replaced(blob, registry):
    blob.read_at(0, 1)
    registry.fault(Fault(reset=True))
    assert blob.read_at(7, 3) == DATA[7:10]


def test_a_stalled_transfer_is_given_up_and_resumed(blob, registry):
    registry.fault(Fault(stall=100))
    began = time.monotonic()
    assert blob.read_at(0, 1000) == DATA[:1000]
    assert 0.3 < time.monotonic() - began < 2
    assert registry.log[-1].range == "bytes=100-999"


def test_many_short_bodies_are_no_failure_while_each_brings_something(blob, registry):
    registry.fault(Fault(cut=100, times=20))
    assert blob.read_at(0, 2050) == DATA[:2050]


def test_the_place_of_a_redirect_is_remembered(client, registry):
    registry.put_blob("base", DATA)
    with LocalRegistry(twin=registry) as cdn:
        registry.fault(Fault(path="/blobs/", redirect=cdn.url, times=ALWAYS))
        blob = client().ranges([f"{registry.host}/base"], BLOB)
        assert [blob.read_at(i, 5) for i in range(3)] == [DATA[i : i + 5] for i in range(3)]
        assert len(registry.log) == 1
        assert len(cdn.log) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_signed_url_that_ended_is_asked_for_again(client, registry, status):
    registry.put_blob("base", DATA)
    with LocalRegistry(twin=registry) as cdn:
        registry.fault(Fault(path="/blobs/", redirect=cdn.url, times=ALWAYS))
        cdn.fault(Fault(status=status, after=1))
        blob = client().ranges([f"{registry.host}/base"], BLOB)
        assert blob.read_at(0, 5) + blob.read_at(5, 5) == DATA[:10]
        assert (len(registry.log), len(cdn.log)) == (2, 3)


def test_a_cdn_that_forbids_for_good_is_an_error(client, registry):
    registry.put_blob("base", DATA)
    with LocalRegistry(twin=registry) as cdn:
        registry.fault(Fault(path="/blobs/", redirect=cdn.url, times=ALWAYS))
        cdn.fault(Fault(status=403, times=ALWAYS))
        with pytest.raises(RegistryError, match="403") as caught:
            client().ranges([f"{registry.host}/base"], BLOB).read_at(0, 5)
        assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(ignore_range=True),
        Fault(status=416),
        Fault(status=501),
        Fault(status=400),
    ],
    ids=["200", "416", "501", "400"],
)
def test_a_host_without_ranges_is_read_whole_once(blob, registry, events, fault):
    registry.fault(fault)
    assert blob.read_at(50_000, 1000) == DATA[50_000:51_000]
    assert blob.read_at(10, 10) == DATA[10:20]
    assert blob.read_at(90_000, 10_000) == DATA[90_000:]
    assert len(registry.requests("GET")) <= 2
    assert registry.host in blob.stats.whole
    assert any("lazy off" in e.message for e in events if isinstance(e, Noted))
    blob.close()


def test_other_blobs_of_a_host_without_ranges_do_not_ask_again(client, registry):
    more = noise(5000, seed=2)
    registry.put_blob("base", DATA)
    registry.put_blob("base", more)
    registry.fault(Fault(ignore_range=True, times=ALWAYS))
    lazy = client()
    first = lazy.ranges([f"{registry.host}/base"], BLOB)
    second = lazy.ranges([f"{registry.host}/base"], describe("x", more))
    assert first.read_at(1, 1) + second.read_at(1, 1) == DATA[1:2] + more[1:2]
    assert [x.range for x in registry.log] == ["bytes=1-1", ""]
    first.close()
    second.close()


def test_a_whole_read_that_breaks_begins_again_and_skips(blob, registry):
    registry.fault(Fault(ignore_range=True, cut=70_000))
    assert blob.read_at(90_000, 10) == DATA[90_000:90_010]
    assert [x.range for x in registry.log] == ["bytes=90000-90009", ""]
    assert blob.read_at(69_995, 10) == DATA[69_995:70_005]
    blob.close()


def test_a_whole_read_is_verified_at_its_end(blob, registry):
    registry.fault(Fault(ignore_range=True, flip=10, times=ALWAYS))
    with pytest.raises(IntegrityError, match="sha256"):
        blob.read_at(90_000, 10_000)
    registry.script.clear()
    assert blob.read_at(90_000, 10_000) == DATA[90_000:]
    blob.close()


@pytest.mark.parametrize(
    "told",
    [
        "bytes 0-99/100000",
        "bytes 1000-1099/99999",
        "bytes 1000-1098/100000",
        "bytes */100000",
        "multipart",
        "bytes 1000-1099/" + "9" * 400,
    ],
)
def test_a_wrong_content_range_is_refused(blob, registry, told):
    registry.fault(Fault(content_range=told, times=ALWAYS))
    with pytest.raises(RegistryError, match="1000-1099"):
        blob.read_at(1000, 100)


def test_encoded_content_is_refused(blob, registry):
    registry.fault(Fault(headers={"Content-Encoding": "gzip"}, times=ALWAYS))
    with pytest.raises(RegistryError, match="encodes"):
        blob.read_at(0, 100)


def test_a_blob_of_another_size_is_refused(client, registry):
    registry.put_blob("base", DATA)
    short = describe("x", DATA)
    wrong = type(short)(media_type="x", digest=short.digest, size=99_000)
    with pytest.raises(RegistryError, match="99000"):
        client().ranges([f"{registry.host}/base"], wrong).read_at(0, 10)


def test_a_second_repository_helps_out(client, registry, events):
    with LocalRegistry(twin=registry) as other:
        registry.put_blob("base", DATA)
        registry.fault(Fault(status=404, times=ALWAYS))
        names = [f"{registry.host}/base", f"{other.host}/base"]
        blob = client().ranges(names, BLOB)
        assert blob.read_at(0, 5) == DATA[:5]
        assert blob.read_at(5, 5) == DATA[5:10]
        assert len(registry.log) == 1  # the order has changed for good
        assert any(other.host in e.message for e in events)


def test_rereading_goes_past_caches_then_to_another_source(client, registry):
    with LocalRegistry(twin=registry) as other:
        registry.put_blob("base", DATA)
        blob = client().ranges([f"{registry.host}/base", f"{other.host}/base"], BLOB)
        registry.fault(Fault(flip=0, times=2))
        assert blob.read_at(0, 5) != DATA[:5]
        assert blob.reread_at(0, 5) != DATA[:5]
        assert registry.log[-1].headers["cache-control"] == "no-cache"
        assert blob.reread_at(0, 5, tried=1) == DATA[:5]
        assert len(other.log) == 1


def test_a_blob_that_vanished_in_the_middle_is_told_so(blob, registry):
    blob.read_at(0, 5)
    registry.content.repository("team/base").blobs.clear()
    with pytest.raises(RegistryError, match="was there before"):
        blob.read_at(5, 5)


def test_a_registry_that_went_away_is_waited_for(client):
    with LocalRegistry() as gone:
        gone.put_blob("base", DATA)
        blob = client(patience=1.0).ranges([f"{gone.host}/base"], BLOB)
        blob.read_at(0, 5)
    began = time.monotonic()
    with pytest.raises(RegistryError, match="no connection"):
        blob.read_at(5, 5)
    assert 0.9 < time.monotonic() - began < 3


def test_the_deadline_ends_all_waiting(client, registry):
    registry.put_blob("base", DATA)
    registry.fault(Fault(status=503, times=ALWAYS, headers={"Retry-After": "20"}))
    lazy = client(patience=100.0, seconds=0.5)
    began = time.monotonic()
    with pytest.raises(RegistryError, match="time for this build"):
        lazy.ranges([f"{registry.host}/base"], BLOB).read_at(0, 5)
    assert time.monotonic() - began < 2


def test_cancel_wakes_those_that_wait(client, registry):
    registry.put_blob("base", DATA)
    registry.fault(Fault(status=503, times=ALWAYS, headers={"Retry-After": "20"}))
    lazy = client()
    threading.Timer(0.2, lazy.cancel).start()
    began = time.monotonic()
    with pytest.raises(RegistryError, match="cancelled"):
        lazy.ranges([f"{registry.host}/base"], BLOB).read_at(0, 5)
    assert time.monotonic() - began < 2


def test_check_costs_one_byte(client, registry):
    registry.put_blob("base", DATA)
    client().check(f"{registry.host}/base", BLOB)
    assert [(x.range, x.sent) for x in registry.log] == [("bytes=0-0", 1)]


def test_check_fails_before_it_is_too_late(client, registry):
    with pytest.raises(RegistryError, match="404"):
        client().check(f"{registry.host}/base", BLOB)
