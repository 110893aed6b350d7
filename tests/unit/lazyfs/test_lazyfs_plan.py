"""Which ranges are asked for, how many at a time, and how processes keep out of the way."""

import os
import threading
import time
from array import array

import pytest

from lazybuild.oci.digest import of as digest_of
from lazybuild.snapshots.lazyfs.flight import BlobLocks, Gate
from lazybuild.snapshots.lazyfs.plan import GAP_MAX, BlobOrder, coalesce, prefetch_end, readahead
from lazybuild.snapshots.lazyfs.tree import Chunks

KB = 1024


def table(*ranges):
    """A chunk table from (offset, end) in KiB."""
    count = len(ranges)
    return Chunks(
        offset=array("Q", [a * KB for a, _ in ranges]),
        end=array("Q", [b * KB for _, b in ranges]),
        inner=array("Q", [0] * count),
        position=array("Q", [0] * count),
        size=array("I", [1] * count),
        digest=bytearray(32 * count),
    )


def spans(chunks, wanted, **options):
    return [(s.start // KB, s.end // KB, s.chunks) for s in coalesce(chunks, wanted, **options)]


def test_neighbours_are_one_request():
    chunks = table((0, 10), (10, 20), (20, 30))
    assert spans(chunks, [0, 1, 2]) == [(0, 30, (0, 1, 2))]


def test_small_gaps_are_bridged_while_they_are_a_small_share():
    chunks = table((0, 100), (101, 200), (230, 300))
    assert spans(chunks, [0, 1, 2]) == [(0, 200, (0, 1)), (230, 300, (2,))]


def test_the_smallest_gaps_are_bridged_first():
    chunks = table((0, 100), (125, 200), (205, 300))
    assert spans(chunks, [0, 1, 2]) == [(0, 100, (0,)), (125, 300, (1, 2))]


def test_no_gap_beyond_the_limit_is_bridged_whatever_its_share():
    far = 10_000 + GAP_MAX // KB + 1
    chunks = table((0, 10_000), (far, far + 10_000))
    assert len(spans(chunks, [0, 1], span_max=1 << 30)) == 2


def test_long_runs_are_cut_so_that_they_can_go_in_parallel():
    chunks = table(*((n * 300, n * 300 + 300) for n in range(10)))
    assert [s[2] for s in spans(chunks, list(range(10)))] == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9,)]


def test_chunks_that_share_a_member_are_never_parted():
    chunks = table((0, 2000), (0, 2000), (0, 2000))
    assert spans(chunks, [0, 1, 2]) == [(0, 2000, (0, 1, 2))]
    assert spans(chunks, []) == []


def test_readahead_goes_on_over_what_is_missing_and_no_further():
    chunks = table(*((n * 10, n * 10 + 10) for n in range(10)))
    order = BlobOrder(chunks)

    def ahead(window, missing=lambda chunk: True):
        return readahead(order, chunks, 2, window=window * KB, missing=missing).chunks

    assert ahead(35) == (2, 3, 4)
    assert ahead(0) == (2,)
    assert ahead(1000, lambda chunk: chunk != 5) == (2, 3, 4)


def test_readahead_follows_the_blob_not_the_table():
    chunks = table((20, 30), (0, 10), (10, 20))
    order = BlobOrder(chunks)
    span = readahead(order, chunks, 1, window=100 * KB, missing=lambda chunk: True)
    assert span.chunks == (1, 2, 0)
    assert list(order.before(20 * KB)) == [1, 2]
    assert order.sort([0, 1, 2, 1]) == [1, 2, 0]


def test_the_gate_grows_while_others_wait_and_halves_on_failure():
    gate = Gate(start=2, maximum=4)
    inside, leave = threading.Semaphore(0), threading.Event()

    def work():
        with gate.slot(urgent=False):
            inside.release()
            leave.wait(5)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    assert inside.acquire(timeout=5)
    assert inside.acquire(timeout=5)
    assert not inside.acquire(timeout=0.05)
    leave.set()
    for thread in threads:
        thread.join(5)
    assert gate.limit == 4
    with pytest.raises(ValueError, match="down"), gate.slot(urgent=True):
        raise ValueError("down")
    assert gate.limit == 2


def test_urgent_requests_pass_a_full_gate():
    gate = Gate(start=1, maximum=2)
    with gate.slot(urgent=False), gate.slot(urgent=True):
        waiting = threading.Thread(target=lambda: gate._enter(False), daemon=True)
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(5)
    assert not waiting.is_alive()


BLOB, OTHER = digest_of(b"a blob"), digest_of(b"another")


def test_two_blobs_know_nothing_of_each_other(tmp_path):
    one, two = BlobLocks(tmp_path / "lock", BLOB), BlobLocks(tmp_path / "lock", OTHER)
    with one.held(0, 1 << 40), two.held(0, 1 << 40) as waited:
        assert not waited


def test_two_owners_of_a_range_wait_for_each_other(tmp_path):
    one, two = BlobLocks(tmp_path / "lock", BLOB), BlobLocks(tmp_path / "lock", BLOB)
    seen = []

    def other():
        with two.held(50, 150) as waited:
            seen.append(waited)

    with one.held(0, 100) as waited:
        assert not waited
        with two.held(100, 200) as apart:
            assert not apart
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.05)
        assert seen == []
    thread.join(5)
    assert seen == [True]


def test_the_lock_of_a_dead_process_is_free(tmp_path):
    child = os.fork()
    if not child:
        BlobLocks(tmp_path / "lock", BLOB).held(0, 100).__enter__()
        os._exit(0)
    os.waitpid(child, 0)
    with BlobLocks(tmp_path / "lock", BLOB).held(0, 100) as waited:
        assert not waited


MIB = 1 << 20


@pytest.mark.parametrize(
    ("landmark", "size", "end"),
    [
        (0, 500 * MIB, 0),
        (30 * MIB, 500 * MIB, 30 * MIB),
        (3 * MIB, 3 * MIB, 3 * MIB),  # a small layer may be fetched whole
        (30 * MIB, 30 * MIB, 15 * MIB),
        (499 * MIB, 500 * MIB, 64 * MIB),
        (1 << 62, 500 * MIB, 64 * MIB),
    ],
)
def test_a_landmark_is_followed_within_reason(landmark, size, end):
    assert prefetch_end(landmark, size) == end
