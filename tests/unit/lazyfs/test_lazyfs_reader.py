"""Chunks are fetched once, checked, kept, and fetched again only when they are broken."""

import random
import threading
import time

import pytest
from support.layers import file
from support.lazylayers import MemoryCache, content, first_chunk, lazy_layer

from lazybuild.errors import IntegrityError, RegistryError
from lazybuild.snapshots.lazyfs import prefetch
from lazybuild.snapshots.lazyfs.layer import Why
from lazybuild.snapshots.lazyfs.memory import Memory
from lazybuild.snapshots.lazyfs.prefetch import Prefetcher
from lazybuild.snapshots.lazyfs.reader import ChunkReader


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


def files(count, size=20_000):
    return [file(f"f{n:02}", noise(size, n)) for n in range(count)]


@pytest.fixture
def cache():
    return MemoryCache()


@pytest.fixture
def reader(cache):
    return ChunkReader(cache)


def test_a_file_of_many_chunks_is_read(reader):
    data = noise(100_000)
    layer = lazy_layer([file("big", data)], chunk_size=4096)
    assert content(reader, layer, "big") == data


def test_what_follows_comes_along_and_nothing_comes_twice(reader):
    layer = lazy_layer(files(40))
    first = content(reader, layer, "f00")
    assert first == noise(20_000, 0)
    assert len(layer.source.reads) == 1
    content(reader, layer, "f01")
    content(reader, layer, "f00")
    assert len(layer.source.reads) == 1
    assert layer.figures.used_of[Why.AHEAD] == layer.packed(first_chunk(layer, "f01"))


def test_what_is_in_the_cache_is_not_fetched(reader, cache):
    content(reader, lazy_layer(files(3)), "f00")
    again = lazy_layer(files(3))
    assert content(ChunkReader(cache), again, "f00") == noise(20_000, 0)
    assert again.source.reads == []


def test_a_long_file_is_checked_ahead_and_each_chunk_once(cache):
    data = noise(6 << 20)
    content(ChunkReader(cache), lazy_layer([file("long", data)], chunk_size=1 << 20), "long")
    memory, loaded = Memory(), list[str]()
    cache.get = lambda digest, size: loaded.append(digest) or MemoryCache.get(cache, digest, size)
    layer = lazy_layer([file("long", data), file("other")], chunk_size=1 << 20)
    first, reader = first_chunk(layer, "long"), ChunkReader(cache, memory=memory)

    def held():
        return {n for n in range(6) if layer.tree.chunks.digest_of(first + n) in memory}

    def asked(act, number, expected):
        act(layer, first + number)
        deadline = time.monotonic() + 5
        while held() != expected and time.monotonic() < deadline:
            time.sleep(0.001)
        assert held() == expected

    asked(reader.read, 4, {4})
    asked(reader.read, 0, {0, 1, 4})
    asked(reader.load_ahead, 0, {0, 1, 2, 4})
    asked(reader.load_ahead, 1, {0, 1, 2, 3, 4})
    asked(reader.load_ahead, 4, set(range(6)))
    assert sorted(loaded) == sorted(set(loaded))
    assert layer.source.reads == []


def test_chunks_are_shared_between_layers(reader):
    content(reader, lazy_layer(files(2)), "f00")
    other = lazy_layer([file("elsewhere", noise(20_000, 0)), file("z", b"z")])
    assert content(reader, other, "elsewhere") == noise(20_000, 0)
    assert other.source.reads == []


def test_many_threads_cause_one_request(reader):
    layer = lazy_layer(files(2))
    layer.source.gate.clear()
    got = []
    threads = [
        threading.Thread(target=lambda: got.append(content(reader, layer, "f00"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    layer.source.gate.set()
    for thread in threads:
        thread.join()
    assert got == [noise(20_000, 0)] * 8
    assert len(layer.source.reads) == 1


def test_a_corrupt_chunk_is_fetched_again(reader):
    layer = lazy_layer(files(1))
    place = layer.tree.chunks.offset[0] + 500
    layer.source.broken[place] = 1
    assert content(reader, layer, "f00") == noise(20_000, 0)
    assert layer.source.rereads == [0]
    assert layer.figures.refetched == 1


def test_a_corrupt_chunk_is_looked_for_at_the_next_host(reader):
    layer = lazy_layer(files(1), hosts=("one", "two"))
    layer.source.broken[layer.tree.chunks.offset[0] + 500] = 2
    assert content(reader, layer, "f00") == noise(20_000, 0)
    assert layer.source.rereads == [0, 1]


def test_a_chunk_that_stays_corrupt_is_an_integrity_error_and_never_cached(reader, cache):
    layer = lazy_layer(files(2), hosts=("one.example", "two.example"))
    layer.source.broken[layer.tree.chunks.offset[0] + 500] = 99
    with pytest.raises(IntegrityError, match=r"sha256:.*one\.example, two\.example"):
        content(reader, layer, "f00")
    assert layer.chunk_digest(0) not in cache.held
    assert content(reader, layer, "f01") == noise(20_000, 1)


def test_a_failed_request_reaches_every_waiter_and_can_be_repeated(reader):
    layer = lazy_layer(files(1))
    layer.source.error = RegistryError("down")
    with pytest.raises(RegistryError, match="down"):
        content(reader, layer, "f00")
    layer.source.error = None
    assert content(reader, layer, "f00") == noise(20_000, 0)


def test_a_cache_that_lost_everything_costs_requests_and_no_more(cache):
    reader = ChunkReader(cache, memory=Memory(1))
    layer = lazy_layer([file("big", noise(100_000))], chunk_size=4096)
    data = content(reader, layer, "big")
    cache.held.clear()
    before = len(layer.source.reads)
    assert content(reader, layer, "big") == data
    assert len(layer.source.reads) > before


def test_a_member_that_inflates_to_more_is_cut_and_one_with_less_is_corrupt(reader):
    layer = lazy_layer([file("f", noise(5000))])
    layer.tree.chunks.size[0] = 4999
    with pytest.raises(IntegrityError):
        reader.read(layer, 0)


def test_prefetch_joins_neighbours_and_reads_find_them(reader):
    layer = lazy_layer(files(64))
    prefetcher = Prefetcher(reader)
    wanted = [first_chunk(layer, f"f{n:02}") for n in range(60)]
    assert prefetcher.want(layer, wanted, Why.PREFETCH) > 60 * 15_000
    assert prefetcher.wait(10)
    requests = len(layer.source.reads)
    assert requests <= 3
    content(reader, layer, "f42")
    assert len(layer.source.reads) == requests
    assert layer.figures.used_of[Why.PREFETCH] > 0
    assert prefetcher.want(layer, wanted, Why.PREFETCH) == 0
    prefetcher.close()


def test_what_is_for_later_comes_after_what_is_wanted_now(reader, monkeypatch):
    monkeypatch.setattr(prefetch, "WORKERS", 1)
    layer = lazy_layer(files(8))
    prefetcher = Prefetcher(reader)
    chunks = [first_chunk(layer, f"f{n:02}") for n in (0, 2, 4)]
    layer.source.gate.clear()
    prefetcher.want(layer, chunks[:1], Why.PREFETCH)  # keeps the one thread busy
    prefetcher.want(layer, chunks[1:2], Why.PREFETCH, later=True)
    prefetcher.want(layer, chunks[2:], Why.PREFETCH)
    layer.source.gate.set()
    assert prefetcher.wait(10)
    assert not reader.missing(layer, chunks[2])
    while reader.missing(layer, chunks[1]) or len(layer.source.reads) < 3:
        time.sleep(0.01)
    offset = layer.tree.chunks.offset
    assert [start for start, _ in layer.source.reads] == [offset[chunks[n]] for n in (0, 2, 1)]
    prefetcher.close()


def test_what_is_for_later_is_not_waited_for(reader):
    layer = lazy_layer(files(4))
    prefetcher = Prefetcher(reader)
    layer.source.gate.clear()
    prefetcher.want(layer, range(4), Why.PREFETCH, later=True)
    assert prefetcher.wait(0.05)
    layer.source.gate.set()
    while reader.missing(layer, 3):
        time.sleep(0.01)
    prefetcher.close()


def test_a_failed_prefetch_fails_nothing(reader):
    layer = lazy_layer(files(4))
    layer.source.error = RegistryError("down")
    prefetcher = Prefetcher(reader)
    prefetcher.want(layer, range(4), Why.PREFETCH)
    assert prefetcher.wait(10)
    layer.source.error = None
    assert content(reader, layer, "f03") == noise(20_000, 3)
    prefetcher.close()


def test_a_local_blob_is_its_own_cache(reader, cache):
    layer = lazy_layer(files(4), cached=False)
    assert content(reader, layer, "f02") == noise(20_000, 2)
    assert cache.held == {}
    assert layer.figures.chunks_fetched == 1


def test_reads_are_noted_in_their_order(reader):
    layer = lazy_layer(files(4))
    content(reader, layer, "f03")
    content(reader, layer, "f01")
    content(reader, layer, "f03")
    assert list(layer.read_order) == [first_chunk(layer, "f03"), first_chunk(layer, "f01")]
