"""Blobs: whole and durable or absent, whatever the writers do."""

import errno
import os
import threading

import pytest

from lazybuild.errors import HostError, IntegrityError, ResourceError
from lazybuild.oci import digest
from lazybuild.store import Store, disk


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "root") as opened:
        yield opened


def test_a_blob_comes_back(store):
    with store.blobs.ingest() as ingest:
        ingest.write(b"hel")
        ingest.write(memoryview(b"lo"))
        stored = ingest.commit(digest.of(b"hello"))
    assert (stored.digest, stored.size) == (digest.of(b"hello"), 5)
    with store.blobs.open(stored.digest) as file:
        assert file.read() == b"hello"
    assert store.blobs.size(stored.digest) == 5
    assert list(store.blobs.all()) == [stored.digest]
    assert store.blobs.path(stored.digest).stat().st_mode & 0o777 == 0o444


def test_what_is_not_committed_leaves_nothing(store):
    with store.blobs.ingest() as ingest:
        ingest.write(b"x")
    with store.blobs.ingest() as ingest:
        ingest.write(b"x")
        with pytest.raises(IntegrityError):
            ingest.commit(digest.of(b"y"))
    assert list(store.blobs.all()) == []
    assert list((store.root / "tmp").iterdir()) == []


def test_putting_twice_is_putting_once(store):
    first = store.blobs.put(b"x")
    inode = store.blobs.path(first).stat().st_ino
    with store.blobs.ingest() as ingest:
        ingest.write(b"x")
        ingest.commit()
    assert store.blobs.path(first).stat().st_ino == inode


def test_a_truncated_blob_is_replaced(store):
    found = store.blobs.put(b"whole")
    path = store.blobs.path(found)
    path.chmod(0o600)
    path.write_bytes(b"who")
    with store.blobs.ingest() as ingest:
        ingest.write(b"whole")
        ingest.commit(found)
    assert path.read_bytes() == b"whole"


def test_a_damaged_document_is_not_read(store):
    found = store.blobs.put(b"whole")
    store.blobs.path(found).chmod(0o600)
    store.blobs.path(found).write_bytes(b"wrong")
    with pytest.raises(IntegrityError):
        store.blobs.read(found)
    with pytest.raises(IntegrityError):
        store.blobs.read(store.blobs.put(b"long"), limit=3)


def test_ranges_survive_the_removal(store):
    found = store.blobs.put(b"0123456789")
    ranges = store.blobs.ranges(found)
    assert store.blobs.delete(found) == 10
    assert not store.blobs.has(found)
    assert (ranges.size, ranges.read_at(3, 4)) == (10, b"3456")
    with pytest.raises(IntegrityError):
        ranges.read_at(8, 3)
    assert store.blobs.delete(found) == 0


def test_a_claimed_blob_is_not_deleted(store):
    found = store.blobs.put(b"x")
    assert store.blobs.delete(found, unless=lambda: True) == 0
    assert store.blobs.has(found)


def test_many_threads_one_blob(store):
    data = b"d" * 100_000
    failures = []

    def work():
        try:
            with store.blobs.ingest() as ingest:
                ingest.write(data)
                ingest.commit(digest.of(data))
        except Exception as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.blobs.read(digest.of(data)) == data
    assert list((store.root / "tmp").iterdir()) == []


def test_one_at_a_time_in_a_flight(store):
    busy, most = [0], [0]

    def work():
        for _ in range(20):
            with store.blobs.flight(digest.of(b"x")):
                busy[0] += 1
                most[0] = max(most[0], busy[0])
                busy[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert list((store.root / "locks").iterdir()) == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, ResourceError),
        (errno.EDQUOT, ResourceError),
        (errno.EMFILE, ResourceError),
        (errno.EROFS, HostError),
        (errno.EIO, HostError),
    ],
)
def test_a_disk_that_fails_has_a_name(tmp_path, number, kind):
    with pytest.raises(kind, match=str(tmp_path)), disk.translated(tmp_path):
        raise OSError(number, "why")


def test_a_full_disk_is_a_resource_error_and_leaves_no_blob(store, monkeypatch):
    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResourceError, match="No space"):
        store.blobs.put(b"x")
    monkeypatch.undo()
    assert list(store.blobs.all()) == []
    assert list((store.root / "tmp").iterdir()) == []
    assert store.blobs.put(b"x")


def test_a_blob_may_be_opened_late_where_it_was_found(tmp_path):
    """Its time is renewed by everybody who asks for it meanwhile."""
    with Store(tmp_path / "root") as store:
        name = store.blobs.put(b"bytes")
        place = store.blobs.place(name)
        os.utime(store.blobs.path(name), (1, 1))
        with place.open() as file:
            assert file.read() == b"bytes"
