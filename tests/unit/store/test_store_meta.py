"""The database: what is put comes back, marks keep the collector away, versions are kept apart."""

import dataclasses
import sqlite3
import subprocess
import sys
import threading

import pytest
from support.stores import AGES_AGO, age, put_layer

from lazybuild.errors import HostError, IntegrityError
from lazybuild.oci import digest
from lazybuild.oci.descriptor import OCI_LAYER_GZIP, TOC_DIGEST, Descriptor
from lazybuild.oci.digest import DiffID
from lazybuild.store import Layer, Store, schema
from lazybuild.store.meta import FileState, Meta


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "root") as opened:
        yield opened


@pytest.fixture
def meta(store):
    return store.meta


def full_layer():
    return Layer(
        id="a",
        descriptor=Descriptor(
            media_type=OCI_LAYER_GZIP,
            digest=digest.of(b"x"),
            size=5,
            annotations={TOC_DIGEST: "sha256:1"},
        ),
        diff_id=DiffID(digest.of(b"y")),
        directory=True,
        uncompressed_size=7,
        toc_digest="sha256:1",
        ordered=True,
        origins=("host:5000/a", "docker.io/library/b"),
        created=12,
    )


def test_layers_come_back(meta):
    layer = full_layer()
    meta.put_layer(layer)
    assert meta.layer("a") == layer
    assert meta.layer("b") is None
    assert meta.layer_by_digest(layer.descriptor.digest) == layer
    changed = dataclasses.replace(layer, ordered=False, origins=())
    meta.put_layer(changed)
    assert [item.layer for item in meta.layers()] == [changed]


def test_a_layer_with_a_directory_is_preferred(meta):
    layer = full_layer()
    meta.put_layer(dataclasses.replace(layer, id="0", directory=False))
    meta.put_layer(layer)
    assert meta.layer_by_digest(layer.descriptor.digest).id == "a"


def test_records_need_all_their_layers(meta):
    meta.put_layer(Layer(id="a"))
    meta.put_layer(Layer(id="b"))
    meta.save_record("k", ["b", "a", "b"], "RUN x")
    meta.save_record("empty", [], "scratch")
    assert meta.load_record("k") == ("b", "a", "b")
    assert meta.load_record("empty") == ()
    assert meta.load_record("other") is None
    meta.delete_layer("a")
    assert meta.load_record("k") is None


def test_a_look_up_is_a_mark(store):
    layer = put_layer(store, b"x", "a")
    meta = store.meta
    for look in (
        lambda: meta.layer("a"),
        lambda: meta.layer_by_digest(layer.descriptor.digest),
        lambda: meta.load_record("k"),
    ):
        meta.save_record("k", ["a"], "")
        age(store)
        assert meta.drop_unused_layers(before=AGES_AGO, pinned=()) == []
        assert look() is not None
        assert [use.used > AGES_AGO for use in meta.layers()] == [True]
    assert [record.used > AGES_AGO for record in meta.records()] == [True]
    assert meta.drop_records(["k"], before=AGES_AGO + 1) == []


def test_looking_for_the_collector_marks_nothing(store):
    layer = put_layer(store, b"x", "a")
    age(store)
    assert store.meta.has_layer("a")
    assert store.meta.has_digest(layer.descriptor.digest)
    assert [use.used for use in store.meta.layers()] == [AGES_AGO]


def test_held_and_pinned_layers_stay(store):
    held, pinned, loose = (put_layer(store, name.encode(), name) for name in ("h", "p", "l"))
    store.meta.save_record("k", [held.id], "")
    dropped = store.meta.drop_unused_layers(before=2e12, pinned={pinned.descriptor.digest})
    assert dropped == [dataclasses.replace(loose, created=dropped[0].created)]
    assert {use.layer.id for use in store.meta.layers()} == {"h", "p"}


def test_memos(meta):
    meta.memo_put("k", "a", "1")
    meta.memo_put("k", "a", "2")
    meta.memo_put("l", "a", "3")
    assert (meta.memo_get("k", "a"), meta.memo_get("k", "b")) == ("2", None)
    assert meta.memos("k") == {"a": "2"}
    meta.forget(before=AGES_AGO)
    assert meta.memo_get("k", "a") == "2"
    meta.forget(before=2e12)
    assert meta.memo_get("k", "a") is None


def test_file_digests_in_bulk_and_of_large_numbers(meta):
    states = [FileState(2**63 + 5, 2**64 - number - 1, number, 1, 2) for number in range(20_000)]
    meta.put_file_digests({state: f"sha256:{state.size}" for state in states})
    found = meta.file_digests(states)
    assert len(found) == 20_000
    assert found[states[7]] == "sha256:7"
    for field in ("size", "mtime_ns", "ctime_ns"):
        changed = states[7]._replace(**{field: 99})
        assert meta.file_digests([changed]) == {}
    assert meta.file_digests([states[7]._replace(dev=1)]) == {}
    assert meta.file_digests([]) == {}


def test_a_failed_transaction_leaves_nothing(meta):
    class Broken(dict):
        def items(self):
            yield "a", full_layer().descriptor
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        meta.put_images(Broken(a=1))
    assert meta.images() == {}
    meta.put_image("a", full_layer().descriptor)
    assert meta.image("a") == full_layer().descriptor


def test_many_threads(meta):
    failures = []

    def work(number):
        try:
            for turn in range(30):
                meta.put_layer(Layer(id=f"{number}-{turn}"))
                meta.save_record(f"{number}-{turn}", [f"{number}-{turn}"], "")
                assert meta.load_record(f"{number}-{turn}")
        except Exception as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(meta.layers()) == 180


def test_an_older_database_is_brought_up(tmp_path):
    path = tmp_path / "meta.db"
    db = sqlite3.connect(path)
    db.executescript(schema.MIGRATIONS[0])
    db.execute("INSERT INTO files VALUES (1, 2, 3, 4, 5, 'sha256:x')")
    db.execute("PRAGMA user_version = 1")
    db.commit()
    db.close()
    meta = Meta(path)
    state = FileState(1, 2, 3, 4, 5)
    assert meta.file_digests([state]) == {state: "sha256:x"}
    meta.put_file_digests({state: "sha256:y"})
    assert meta.file_digests([state]) == {state: "sha256:y"}
    meta.close()


def test_a_newer_database_is_refused(tmp_path):
    path = tmp_path / "meta.db"
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(HostError, match="newer"):
        Meta(path).close()


def test_a_damaged_database_says_what_to_do(tmp_path):
    path = tmp_path / "meta.db"
    path.write_bytes(b"not sqlite" * 1000)
    with pytest.raises(IntegrityError, match="damaged") as caught:
        Meta(path)
    assert str(path) in caught.value.hint


OPEN = """
import sys
from pathlib import Path
from lazybuild.store import Layer, Store
with Store(Path(sys.argv[1])) as store:
    store.meta.put_layer(Layer(id=sys.argv[2]))
"""


def test_many_processes_may_make_one_store(tmp_path):
    children = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(tmp_path / "root"), str(number)],
            stderr=subprocess.PIPE,
        )
        for number in range(8)
    ]
    assert [(child.communicate()[1], child.returncode) for child in children] == [(b"", 0)] * 8
    with Store(tmp_path / "root") as store:
        assert len(store.meta.layers()) == 8


AT_ONCE = """
import multiprocessing, sys
from pathlib import Path
from lazybuild.store.meta import Meta

def opened(path, start):
    start.wait()
    Meta(path).close()

for number in range(30):
    start = multiprocessing.Barrier(6)
    path = Path(sys.argv[1]) / f"{number}.db"
    children = [multiprocessing.Process(target=opened, args=(path, start)) for _ in range(6)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
"""


def test_a_database_may_be_made_by_many_in_the_same_moment(tmp_path):
    subprocess.run([sys.executable, "-c", AT_ONCE, str(tmp_path)], check=True)
