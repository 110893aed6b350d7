"""The collector: takes what nobody needs, and nothing else, whoever works meanwhile or died."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.stores import AGES_AGO, age, names_in, put_image, put_layer

from lazybuild.oci import codec, digest
from lazybuild.oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, Descriptor
from lazybuild.oci.image import Manifest
from lazybuild.store import Layer, Store, gc
from lazybuild.store.gc import Policy
from lazybuild.store.places import place_of
from lazybuild.store.usage import total, usage

NAME = "docker.io/library/app:1"
ALL = Policy(unused_for=0, everything=True)
TESTS = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "root") as opened:
        yield opened


def blobs(store):
    return set(store.blobs.all())


def test_an_image_stays_whole(store):
    put_image(store, NAME, b"x", b"y")
    before = blobs(store)
    age(store)
    done = gc.prune(store, ALL)
    assert (blobs(store), done.bytes, done.blobs) == (before, 0, 0)
    assert len(before) == 4
    assert store.meta.layer_by_digest(store.meta.layers()[0].layer.descriptor.digest)


def test_what_only_an_untagged_image_held_goes(store):
    put_image(store, NAME, b"shared", b"x")
    put_image(store, "docker.io/library/other:1", b"shared", b"y")
    shared = store.meta.layer(digest.of(b"shared")[7:]).descriptor.digest
    store.untag(NAME)
    age(store)
    size = sum(store.blobs.size(item) for item in blobs(store))
    done = gc.prune(store, ALL)
    assert shared in blobs(store)
    assert len(blobs(store)) == 4
    assert done.bytes == size - sum(store.blobs.size(item) for item in blobs(store))
    assert (done.blobs, done.layers) == (3, 1)


def test_a_note_of_where_a_blob_lies_goes_when_nothing_needs_it(store, tmp_path):
    (tmp_path / "file").write_bytes(b"held and loose")
    place = place_of(tmp_path / "file")
    held, loose = digest.of(b"held"), digest.of(b"loose")
    store.blobs.places.note(held, place.part(0, 4))
    store.blobs.places.note(loose, place.part(9, 5))
    config = Descriptor(media_type=OCI_CONFIG, digest=store.blobs.put(b"{}"), size=2)
    layer = Descriptor(media_type=OCI_LAYER_GZIP, digest=held, size=4)
    manifest = Manifest(config=config, layers=(layer,))
    store.blobs.put(codec.encode(manifest))
    store.tag(NAME, codec.describe(manifest))
    gc.prune(store, Policy())
    assert store.blobs.has(loose)
    age(store)
    gc.prune(store, ALL)
    assert list(store.blobs.places.all()) == [held]
    with store.blobs.open(held) as file:
        assert file.read() == b"held"
    assert (tmp_path / "file").exists()


def test_recent_things_stay(store):
    put_image(store, NAME, b"x")
    store.untag(NAME)
    store.meta.save_record("k", [digest.of(b"x")[7:]], "")
    before = blobs(store)
    assert gc.prune(store, Policy(unused_for=600)).bytes == 0
    assert blobs(store) == before
    assert store.meta.load_record("k")


def test_a_record_holds_its_layers_until_it_is_old(store):
    layer = put_layer(store, b"x", "a")
    store.meta.save_record("k", ["a"], "RUN x")
    age(store)
    store.meta.load_record("k")
    gc.prune(store, Policy(unused_for=600))
    assert blobs(store) == {layer.descriptor.digest}
    age(store)
    done = gc.prune(store, Policy(unused_for=600))
    assert (done.records, done.layers, done.blobs) == (1, 1, 1)
    assert blobs(store) == set()


def test_a_lease_keeps_what_was_made_or_looked_up_since(store):
    put_layer(store, b"old", "old")
    put_layer(store, b"seen", "seen")
    loose, claimed = store.blobs.put(b"loose"), store.blobs.put(b"claimed")
    store.meta.save_record("k", ["seen"], "")
    age(store)
    with store.lease("build"):
        new = put_layer(store, b"new", "new")
        assert store.meta.load_record("k") == ("seen",)
        assert store.blobs.has(claimed)
        done = gc.prune(store, ALL)
        assert (done.layers, done.blobs, done.records) == (1, 2, 0)
        assert store.meta.layer("seen")
        assert {new.descriptor.digest, claimed} <= blobs(store)
        assert loose not in blobs(store)
    gc.prune(store, ALL)
    assert blobs(store) == set()


def test_directories_go_with_their_layers_and_ruins_go(store, tmp_path):
    for name in ("held", "loose", "ruin"):
        (store.root / "snapshots" / name / "fs" / "d").mkdir(parents=True)
        (store.root / "snapshots" / name / "fs" / "d").chmod(0)
    for name in ("held", "loose"):
        store.meta.put_layer(Layer(id=name, directory=True))
    store.meta.save_record("k", ["held"], "")
    age(store)
    store.meta.load_record("k")
    gc.prune(store, Policy(unused_for=-10, ids=("no such",)))
    assert [path.name for path in (store.root / "snapshots").iterdir()] == ["held"]
    assert list((store.root / "tmp").iterdir()) == []


def test_keep_takes_the_least_recently_used_first(store):
    for number in range(5):
        put_layer(store, os.urandom(10_000), str(number))
        store.meta.save_record(f"k{number}", [str(number)], f"RUN {number}")
    age(store)
    with store.meta._write() as db:
        for number in range(5):
            used = AGES_AGO + number
            db.execute("UPDATE records SET used = ? WHERE key = ?", (used, f"k{number}"))
    gc.prune(store, Policy(unused_for=0, keep=25_000))
    assert [record.key for record in store.meta.records()] == ["k3", "k4"]
    assert len(blobs(store)) == 2
    gc.prune(store, Policy(unused_for=0, keep=25_000))
    assert len(blobs(store)) == 2


def test_records_are_chosen_by_id_and_description(store):
    store.meta.save_record("abc", [], "RUN one")
    store.meta.save_record("abd", [], "RUN two")
    store.meta.save_record("xyz", [], "RUN two")
    age(store)
    gc.prune(store, Policy(unused_for=0, ids=("ab",), description="two"))
    assert [record.key for record in store.meta.records()] == ["abc", "xyz"]


def test_records_are_chosen_by_what_usage_calls_their_layer(store):
    for number in range(2):
        put_layer(store, b"%d" % number, str(number))
        store.meta.save_record(f"k{number}", [str(number)], f"RUN {number}")
    age(store)
    first = next(item for item in usage(store) if item.description == "RUN 0")
    gc.prune(store, Policy(unused_for=0, ids=(first.id.removeprefix("sha256:")[:12],)))
    assert [record.key for record in store.meta.records()] == ["k1"]


def test_only_so_much_goes_as_has_to_be_free(store, monkeypatch):
    for number in range(4):
        put_layer(store, os.urandom(100_000), str(number))
        store.meta.save_record(f"k{number}", [str(number)], f"RUN {number}")
    age(store)
    found = os.statvfs(store.root)
    free = found.f_bavail * found.f_frsize
    monkeypatch.setattr("os.statvfs", lambda _: found)
    assert gc.prune(store, Policy(unused_for=0, free=free)).records == 0
    assert gc.prune(store, Policy(unused_for=0, free=free + 150_000)).records == 2


def test_mounts_alone(store):
    put_layer(store, b"x", "x")
    store.meta.save_record("k", ["x"], "RUN x")
    for name in ("abc", "xyz"):
        (store.root / "cache-mounts" / name).mkdir()
    age(store)
    only = Policy(unused_for=0, only=gc.MOUNTS, ids=("ab",))
    assert gc.prune(store, only).mounts == 1
    assert [path.name for path in gc.mounts(store)] == ["xyz"]
    assert gc.prune(store, Policy(unused_for=0, everything=True, only=gc.STEPS)).records == 1
    assert [path.name for path in gc.mounts(store)] == ["xyz"]


def test_a_mount_is_as_old_as_its_last_use(store):
    mount = store.root / "cache-mounts" / "name"
    mount.mkdir()
    age(store)
    (store.root / "cache-mounts" / "name.lock").touch()
    assert gc.prune(store, Policy(unused_for=60, everything=True)).mounts == 0
    assert gc.prune(store, Policy(unused_for=-1, everything=True)).mounts == 1


def test_only_everything_takes_caches(store):
    store.chunks.put(digest.of(b"c"), b"c")
    mount = store.root / "cache-mounts" / "name"
    (mount / "d").mkdir(parents=True)
    store.meta.memo_put("k", "a", "1")
    age(store)
    store.meta.memo_put("k", "a", "1")
    gc.prune(store, Policy(unused_for=0))
    assert mount.exists()
    assert store.chunks.total() == 1
    assert store.meta.memo_get("k", "a") == "1"
    assert gc.prune(store, ALL).mounts == 1
    assert not mount.exists()
    assert store.chunks.total() == 0
    assert store.meta.memo_get("k", "a") is None


HOLD = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_SH)
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_cache_mount_in_use_stays(store):
    mount = store.root / "cache-mounts" / "name"
    mount.mkdir()
    age(store)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, f"{mount}.lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout.readline() == b"ready\n"
        assert gc.prune(store, ALL).mounts == 0
        assert mount.exists()
        child.stdin.close()
    assert gc.prune(store, ALL).mounts == 1


def test_links_in_ruins_are_not_followed(store, tmp_path):
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "f").write_text("x")
    for folder in ("snapshots", "tmp", "cache-mounts"):
        (store.root / folder / "link").symlink_to(canary)
    age(store)
    gc.prune(store, ALL)
    assert (canary / "f").read_text() == "x"


def test_usage_adds_up(store):
    put_image(store, NAME, b"x")
    put_layer(store, b"loose", "l")
    store.meta.save_record("k", ["l"], "RUN x")
    found = usage(store)
    on_disk = sum(store.blobs.size(item) for item in blobs(store))
    assert total(found) == on_disk
    assert {(item.kind, item.held) for item in found} == {
        ("layer", True),
        ("layer", False),
        ("blob", True),
    }
    assert [(item.description, item.held) for item in found if item.description] == [
        ("RUN x", False)
    ]
    age(store)
    free = sum(item.size for item in found if not item.held)
    assert gc.prune(store, ALL).bytes == free


def test_a_kill_anywhere_leaves_a_store_that_opens_and_a_prune_that_cleans(tmp_path):
    done = subprocess.run(
        [sys.executable, str(TESTS / "support" / "crashes.py"), str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    bad = [line for line in lines if line["found"] != [{"wrong": [], "left": []}] * 2]
    assert bad == []
    assert lines[-1]["ended"]
    assert len(lines) > 60, "the scenario has become too small to prove anything"


WORK = """
import os, random, sys
from pathlib import Path
from support.stores import put_image
from lazybuild.oci import codec
from lazybuild.store import Store, gc
root, number = Path(sys.argv[1]), int(sys.argv[2])
random.seed(number)
with Store(root) as store:
    for turn in range(12):
        if number == 0:
            gc.prune(store, gc.Policy(unused_for=0, everything=True))
            continue
        with store.lease("build"):
            contents = [b"c%d" % random.randrange(5) for _ in range(3)]
            name = f"docker.io/library/a{random.randrange(3)}:1"
            image = put_image(store, name, *dict.fromkeys(contents))
            for digest in store.closure([image]):
                assert store.blobs.path(digest).exists(), f"lost {digest} under a lease"
            for layer, _ in store.meta.layers():
                pass
            if turn % 3 == 0:
                store.untag(name)
"""


def test_processes_build_tag_and_prune_at_once(tmp_path):
    env = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, str(tmp_path / "root"), str(number)],
            stderr=subprocess.PIPE,
            env=env,
        )
        for number in (0, 1, 2, 0, 3, 4)
    ]
    assert [(child.communicate()[1], child.returncode) for child in children] == [(b"", 0)] * 6
    with Store(tmp_path / "root") as store:
        for digest_ in store.closure(item for item, _ in store.meta.images().values()):
            assert store.blobs.path(digest_).exists()
        for name in list(store.meta.images()):
            store.untag(name)
        age(store)
        gc.prune(store, ALL)
        assert blobs(store) == set()
        left = names_in(store.root / "tmp") | names_in(store.root / "leases")
        assert left == set()
