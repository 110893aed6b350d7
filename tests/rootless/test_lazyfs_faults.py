"""What goes wrong while lazy layers are in use: each has an end, a reason and no wrong byte."""

import errno
import json
import os
import random
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest
from support import layers
from support.faults import ALWAYS, Fault
from support.inside import inside
from support.layers import file
from support.lazymount import (
    Pushed,
    add_local,
    describe_file,
    go,
    lazyfs,
    on_go,
    retold,
)
from support.registry import LocalRegistry

from lazybuild.errors import RegistryError
from lazybuild.oci import digest as digests
from lazybuild.registry.config import RegistryConfig
from lazybuild.store import Place

pytestmark = pytest.mark.rootless


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


def files(count=20, size=60_000):
    return [file(f"f{n:02}", noise(size, n)) for n in range(count)]


def flipped(place, pushed):
    """Row 12: a chunk that comes corrupt once is fetched again, and nobody notices."""
    with lazyfs(place) as fs:
        root = pushed.add(fs)
        time.sleep(0.3)  # connections are being opened
        go(place)
        assert (root / "f00").read_bytes() == noise(60_000, 0)
        assert fs.failures == []
        assert fs.stats()[pushed.written.digest].refetched == 1


def test_a_chunk_that_is_corrupt_once(tmp_path):
    with LocalRegistry() as registry:
        pushed = Pushed(registry, files(80))
        fault = Fault(path="/blobs/", flip=30_000, times=1)
        with on_go(tmp_path, lambda: registry.fault(fault)):
            inside(flipped, tmp_path, pushed)


def rotten(place, pushed):
    """Row 13: a damaged file of the disk cache is dropped and fetched again."""
    with lazyfs(place) as fs:
        assert (pushed.add(fs) / "f03").read_bytes() == noise(60_000, 3)
        time.sleep(0.2)  # what came along is still being put away
    for path in (place / "store/chunks").rglob("*"):
        if path.is_file():
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
    with lazyfs(place) as fs:
        assert (pushed.add(fs) / "f03").read_bytes() == noise(60_000, 3)
        assert fs.stats()[pushed.written.digest].requests >= 1
    cached = place / "store/chunks" / digests.of(noise(60_000, 3))[7:9]
    held = [path.read_bytes() for path in cached.iterdir() if not path.name.startswith(".")]
    assert noise(60_000, 3) in held


def test_a_damaged_disk_cache(tmp_path):
    with LocalRegistry() as registry:
        inside(rotten, tmp_path, Pushed(registry, files()))


def vanished(place, pushed):
    """Row 39: the cache may be deleted at any time; what is open stays readable."""
    with lazyfs(place) as fs:
        root = pushed.add(fs)
        with open(root / "f01", "rb") as half:
            begun = half.read(10)
            shutil.rmtree(place / "store/chunks")
            assert begun + half.read() == noise(60_000, 1)
        for n in range(20):
            assert (root / f"f{n:02}").read_bytes() == noise(60_000, n)
    assert any(path.is_file() for path in (place / "store/chunks").rglob("*"))


def test_a_disk_cache_that_is_deleted(tmp_path):
    with LocalRegistry() as registry:
        inside(vanished, tmp_path, Pushed(registry, files()))


def silent(place, pushed):
    """Row 14: a registry that is gone is waited for, then reader and build are told."""
    config = RegistryConfig(
        retries=1, retry_wait=0.05, patience=1.0, stall_timeout=1.0, connect_timeout=1.0
    )
    with lazyfs(place, config=config) as fs:
        root = pushed.add(fs)
        go(place)
        began = time.monotonic()
        with pytest.raises(OSError, match="Input/output"):
            (root / "f00").read_bytes()
        assert time.monotonic() - began < 8
        assert isinstance(fs.failures[0].error, RegistryError)
        assert fs.failures[0].error.exit_code == 104
        assert fs.alive


def test_a_registry_that_goes_silent(tmp_path):
    with LocalRegistry() as registry:
        pushed = Pushed(registry, files(80))
        fault = Fault(path="/blobs/", stall=0, times=ALWAYS)
        with on_go(tmp_path, lambda: registry.fault(fault)):
            inside(silent, tmp_path, pushed)


def patient(place, pushed):
    """Row 14 again: one that comes back in time costs nothing but time."""
    with lazyfs(place, config=RegistryConfig(retries=5, retry_wait=0.05, patience=20.0)) as fs:
        root = pushed.add(fs)
        go(place)
        assert (root / "f00").read_bytes() == noise(60_000, 0)
        assert fs.failures == []


def test_a_registry_that_comes_back(tmp_path):
    with LocalRegistry() as registry:
        pushed = Pushed(registry, files(80))
        fault = Fault(path="/blobs/", status=503, times=3)
        with on_go(tmp_path, lambda: registry.fault(fault)):
            inside(patient, tmp_path, pushed)


def others_go_on(place, pushed):
    """Row 25: a read that waits for the network stops none that need not."""
    with lazyfs(place) as fs:
        local, _ = add_local(fs, place, files(3))
        root = pushed.add(fs)
        go(place)
        waiting = [
            subprocess.Popen(["cat", str(root / f"f{n:02}")], stdout=subprocess.DEVNULL)
            for n in range(10, 20)
        ]
        time.sleep(0.3)
        began = time.monotonic()
        assert (local / "f01").read_bytes() == noise(60_000, 1)
        assert os.lstat(root / "f05").st_size == 200_000
        assert time.monotonic() - began < 1
        assert fs.ping() > 0.1
        assert [process.wait(20) for process in waiting] == [0] * 10
        assert fs.ping() == 0


def test_reads_that_wait_stop_no_others(tmp_path):
    with LocalRegistry() as registry:
        pushed = Pushed(registry, files(20, 200_000))
        fault = Fault(path="/blobs/", delay=1.5, times=ALWAYS)
        with on_go(tmp_path, lambda: registry.fault(fault)):
            inside(others_go_on, tmp_path, pushed)


def shared(place, pushed):
    """Two builds with one store: what one fetches the other does not."""
    place2 = place / "second"
    place2.mkdir()
    os.symlink(place / "store", place2 / "store")
    with lazyfs(place) as one, lazyfs(place2) as two:
        roots = pushed.add(one), pushed.add(two)
        found = []

        def read(root):
            found.append([(root / f"f{n:02}").read_bytes() for n in range(40)])

        threads = [threading.Thread(target=read, args=(root,)) for root in roots]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found[0] == found[1] == [noise(20_000, n) for n in range(40)]
        digest = pushed.written.digest
        chunks = sum(fs.stats()[digest].chunks_fetched for fs in (one, two))
        assert chunks == 40


def test_two_builds_fetch_a_chunk_once(tmp_path):
    with LocalRegistry(latency=0.02) as registry:
        inside(shared, tmp_path, Pushed(registry, files(40, 20_000)))


def hostile(place, path, toc_digest):
    with lazyfs(place) as fs:
        folder, reason = fs.add(describe_file(path), toc_digest, blob=Place.whole(Path(path)))
        assert folder, reason
        with pytest.raises(OSError) as caught:
            (folder / "f").read_bytes()
        assert caught.value.errno == errno.EIO
        assert (folder / "g").read_bytes() == noise(300, 2)
        deadline = time.monotonic() + 5
        while not fs.failures and time.monotonic() < deadline:
            time.sleep(0.01)
        return type(fs.failures[0].error).__name__, str(fs.failures[0].error)


@pytest.mark.parametrize(
    "change",
    [
        {"chunkDigest": "sha256:" + "0" * 64},
        {"size": 299},
        {"size": 301},
        {"offset": 1},
        {"innerOffset": 5},
    ],
)
def test_a_toc_that_lies_about_a_chunk_gives_no_byte(tmp_path, change):
    """Rows 39 to 41 and 46 of the bad inputs: what does not fit the digest is never handed out."""

    def tell(entries):
        next(entry for entry in entries if entry["name"] == "f").update(change)

    blob, _ = layers.write([file("f", noise(300)), file("g", noise(300, 2))])
    lying, toc_digest = retold(blob, tell)
    (tmp_path / "blob").write_bytes(lying)
    kind, text = inside(hostile, tmp_path, str(tmp_path / "blob"), toc_digest)
    assert kind == "IntegrityError"
    assert "sha256:" in text


def crowded(place, path, toc_digest):
    with lazyfs(place) as fs:
        began = time.monotonic()
        folder, reason = fs.add(describe_file(path), toc_digest, blob=Place.whole(Path(path)))
        assert folder, reason
        assert len(os.listdir(folder / "d")) == 200_001  # "gone" is a whiteout device
        for absent in (".wh.f000001", ".wh..wh..opq", "f", "g"):
            assert not (folder / "d" / absent).exists()
        assert (folder / "d/f123456").stat().st_size == 0
        assert time.monotonic() - began < 20


def test_a_directory_of_many_names(tmp_path):
    """Row 47: bounded, and whiteouts are never seen by their name in the layer."""
    entries = [{"name": f"d/f{n:06}", "type": "reg"} for n in range(200_000)]
    entries.append({"name": "d/.wh.gone", "type": "reg"})
    told = json.dumps({"version": 1, "entries": entries}).encode()
    (tmp_path / "blob").write_bytes(layers.blob_with_toc(told, b"x"))
    inside(crowded, tmp_path, str(tmp_path / "blob"), layers.digest(told))
