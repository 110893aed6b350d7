import os

import pytest

from lazybuild.oci.descriptor import OCI_LAYER_GZIP, Descriptor
from lazybuild.oci.digest import of
from lazybuild.snapshots.recovery import recover
from lazybuild.store import Layer, Store

SECOND = 1_000_000_000
DOWN = 5_000 * SECOND


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as opened:
        recover(opened, "first", 0)
        yield opened


def layer(store, name, created, *, blob=False, directory=True):
    if directory:
        store.snapshot_dir(name).mkdir(parents=True)
    digest = of(name.encode())
    descriptor = Descriptor(media_type=OCI_LAYER_GZIP, digest=digest, size=1) if blob else None
    made = Layer(id=name, directory=True, descriptor=descriptor, created=created * SECOND)
    store.meta.put_layer(made)


def test_the_last_minute_before_a_boot_is_given_up(store):
    layer(store, "old", 1000)
    layer(store, "late", 2000)
    layer(store, "later", 2030, blob=True)
    layer(store, "after", 6000)
    assert {found.id for found in recover(store, "second", DOWN)} == {"late", "later"}
    assert store.meta.layer("old").directory
    assert store.meta.layer("after").directory
    assert store.meta.layer("late") is None
    assert not store.meta.layer("later").directory
    assert sorted(os.listdir(store.root / "snapshots")) == ["after", "old"]


def test_once_after_each_boot(store):
    layer(store, "old", 1000)
    layer(store, "late", 2000)
    assert recover(store, "first", DOWN) == []
    assert [found.id for found in recover(store, "second", DOWN)] == ["late"]
    assert recover(store, "second", DOWN) == []


def test_a_directory_that_did_not_make_it(store):
    layer(store, "lost", 1000, directory=False)
    layer(store, "old", 1001)
    layer(store, "late", 2000)
    assert {found.id for found in recover(store, "second", DOWN)} == {"lost", "late"}


def test_this_machine_names_its_boot(tmp_path):
    with Store(tmp_path / "other") as store:
        assert recover(store) == []
        layer(store, "old", 1000)
        assert recover(store) == []
        assert store.meta.layer("old").directory
