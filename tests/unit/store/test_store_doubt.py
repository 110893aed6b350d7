"""What a store does about a disk that lost or spoiled something, and about one that is full."""

import os
import time

import pytest
from support.stores import put_layer

from lazybuild.store import Layer, Store, boot, reserve

OTHER_BOOT = b"another boot\n"


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as store:
        yield store


def spoil(store, name):
    path = store.blobs.path(name)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    aged(path)


def aged(path):
    os.utime(path, (time.time() - 100, time.time() - 100))


def test_blobs_in_doubt_are_checked_when_they_are_used(store):
    good, bad = store.blobs.put(b"good"), store.blobs.put(b"bad")
    aged(store.blobs.path(good))
    spoil(store, bad)
    assert store.blobs.has(bad)  # nobody has a doubt
    aged(store.blobs.path(bad))
    store.doubt()
    with Store(store.root) as again:
        assert again.blobs.has(good)
        assert not again.blobs.has(bad)
        assert not again.blobs.path(bad).exists()


def test_a_blob_is_checked_once(store, monkeypatch):
    name = store.blobs.put(b"good")
    aged(store.blobs.path(name))
    store.doubt()
    aged(store.root / "suspect")
    store.blobs.doubted = time.time() - 50
    assert store.blobs.has(name)
    monkeypatch.setattr("hashlib.file_digest", None)
    assert store.blobs.has(name)


def directory(store, name, layer):
    (store.snapshot_dir(name)).mkdir(parents=True)
    store.meta.put_layer(layer)


def lost_power(store):
    """As if the machine had stopped while somebody had a lease."""
    (store.root / "leases" / "1-dead").touch()
    (store.root / "boot").write_bytes(OTHER_BOOT)


def test_after_a_power_loss_unsynced_directories_go(store):
    both = put_layer(store, b"x", "both")
    directory(store, "both", Layer(id="both", descriptor=both.descriptor, directory=True))
    directory(store, "only", Layer(id="only", directory=True))
    lost_power(store)
    with Store(store.root) as again:
        assert not again.meta.layer("both").directory
        assert again.meta.layer("both").descriptor == both.descriptor
        assert again.meta.layer("only") is None
        assert list((store.root / "snapshots").iterdir()) == []
        assert again.blobs.doubted


def test_a_restart_without_a_build_takes_nothing(store):
    directory(store, "only", Layer(id="only", directory=True))
    (store.root / "boot").write_bytes(OTHER_BOOT)
    with Store(store.root) as again:
        assert again.meta.layer("only").directory
        assert not again.blobs.doubted
    assert (store.root / "boot").read_bytes() == boot.BOOT_ID.read_bytes()


def test_who_works_on_another_machine_is_not_disturbed(store):
    directory(store, "only", Layer(id="only", directory=True))
    with store.lease("another"):
        (store.root / "boot").write_bytes(OTHER_BOOT)
        with Store(store.root) as again:
            assert again.meta.layer("only").directory


def test_the_reserve_is_kept_where_there_is_room(store, monkeypatch):
    path = store.root / reserve.NAME
    assert path.stat().st_blocks * 512 >= reserve.SIZE
    reserve.spend(store.root)
    assert not path.exists()
    reserve.spend(store.root)
    monkeypatch.setattr(reserve, "_free", lambda _: reserve.SIZE)
    with Store(store.root):
        assert not path.exists()
