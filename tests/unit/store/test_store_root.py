"""Opening a store, naming images in it, and what other tools see."""

import json
import os
import shutil
import subprocess
import time

import pytest
from support.stores import put_image

from lazybuild.errors import HostError, UsageError
from lazybuild.store import Store, names

NAME = "docker.io/library/app:1"


def test_a_new_store_is_private_and_a_layout(tmp_path):
    with Store(tmp_path / "a" / "root") as store:
        assert store.root.stat().st_mode & 0o777 == 0o700
        layout = json.loads((store.root / "oci-layout").read_bytes())
    assert layout == {"imageLayoutVersion": "1.0.0"}
    assert (tmp_path / "a" / "root" / "version").read_text() == "1\n"


def test_opening_is_quick(tmp_path):
    Store(tmp_path / "root").close()
    best = 1.0
    for _ in range(5):
        started = time.perf_counter()
        Store(tmp_path / "root").close()
        best = min(best, time.perf_counter() - started)
    assert best < 0.01


@pytest.mark.parametrize("version", ["2", "x", "", "9" * 500])
def test_another_version_is_refused(tmp_path, version):
    Store(tmp_path / "root").close()
    (tmp_path / "root" / "version").write_text(version)
    with pytest.raises(HostError, match="version"):
        Store(tmp_path / "root")


def test_a_directory_of_someone_else_is_refused(tmp_path):
    (tmp_path / "precious").touch()
    with pytest.raises(UsageError, match="precious"):
        Store(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    with pytest.raises(UsageError, match="not a directory"):
        Store(tmp_path / "precious")


def test_a_store_that_others_may_write_is_refused(tmp_path):
    Store(tmp_path / "root").close()
    (tmp_path / "root").chmod(0o770)
    with pytest.raises(HostError, match="others"):
        Store(tmp_path / "root")


def test_a_creation_that_was_cut_short_is_ended(tmp_path):
    Store(tmp_path / "root").close()
    for name in ("version", "index.json"):
        (tmp_path / "root" / name).unlink()
    (tmp_path / "root" / ".version-abc").touch()
    shutil.rmtree(tmp_path / "root" / "chunks")
    with Store(tmp_path / "root") as store:
        assert put_image(store, NAME, b"x")


def test_names_come_and_go(tmp_path):
    with Store(tmp_path / "root") as store:
        first = put_image(store, NAME, b"x")
        store.tag("docker.io/library/app:2", first)
        assert store.meta.image(NAME) == first
        index = json.loads((store.root / "index.json").read_bytes())
        seen = [item["annotations"][names.REF_NAME] for item in index["manifests"]]
        assert seen == [NAME, "docker.io/library/app:2"]
        assert store.untag(NAME)
        assert not store.untag(NAME)
        assert list(store.meta.images()) == ["docker.io/library/app:2"]


def test_a_lost_database_keeps_the_names(tmp_path):
    with Store(tmp_path / "root") as store:
        descriptor = put_image(store, NAME, b"x")
    for path in (tmp_path / "root").glob("meta.db*"):
        path.unlink()
    with Store(tmp_path / "root") as store:
        assert store.meta.image(NAME) == descriptor


def test_a_broken_index_is_written_anew(tmp_path):
    with Store(tmp_path / "root") as store:
        put_image(store, NAME, b"x")
        (store.root / "index.json").write_bytes(b"{")
        put_image(store, "docker.io/library/b:1", b"y")
        assert len(json.loads((store.root / "index.json").read_bytes())["manifests"]) == 2


@pytest.mark.skipif(not shutil.which("skopeo"), reason="needs skopeo")
def test_skopeo_reads_it(tmp_path):
    with Store(tmp_path / "root") as store:
        put_image(store, NAME, b"x")
        put_image(store, "localhost:5000/b/c:d", b"y")
        found = [
            subprocess.run(
                ["skopeo", "inspect", "--raw", f"oci:{store.root}:{name}"],
                check=True,
                capture_output=True,
            ).stdout
            for name in (NAME, "localhost:5000/b/c:d")
        ]
    assert [len(json.loads(raw)["layers"]) for raw in found] == [1, 1]
    assert found[0] != found[1]


def test_closure_ends_where_documents_end(tmp_path):
    with Store(tmp_path / "root") as store:
        descriptor = put_image(store, NAME, b"x", b"y")
        assert len(store.closure([descriptor])) == 4
        store.blobs.delete(descriptor.digest)
        assert store.closure([descriptor]) == {descriptor.digest}


def test_leases_live_as_long_as_their_holders(tmp_path):
    with Store(tmp_path / "root") as store:
        assert store.leases.oldest() is None
        before = time.time()
        with store.lease("a"), store.lease("b"):
            assert before - 1 < store.leases.oldest() <= time.time()
        assert store.leases.oldest() is None
        (store.root / "leases" / "12.5-dead").touch()
        (store.root / "leases" / "odd").touch()
        assert store.leases.oldest() is None
        assert os.listdir(store.root / "leases") == []
