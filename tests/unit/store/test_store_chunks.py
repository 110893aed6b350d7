"""The chunk cache: verified, bounded, and allowed to lose anything."""

import os
import shutil
import subprocess
import sys

import pytest

from lazybuild.oci import digest
from lazybuild.store.chunks import Chunks


@pytest.fixture
def make(tmp_path):
    (tmp_path / "locks").mkdir()
    return lambda cap=1 << 30: Chunks(tmp_path / "chunks", tmp_path / "locks", cap)


def chunk(number, size=1000):
    data = number.to_bytes(4, "big") * (size // 4)
    return digest.of(data), data


def test_a_chunk_comes_back(make):
    name, data = chunk(1)
    chunks = make()
    assert chunks.get(name, len(data)) is None
    assert chunks.put(name, data)
    assert chunks.get(name, len(data)) == data
    assert chunks.total() == len(data)


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 1000, b"x" * 2000])
def test_a_damaged_chunk_is_a_miss_and_goes(make, damage):
    name, data = chunk(1)
    chunks = make()
    chunks.put(name, data)
    chunks.path(name).write_bytes(damage)
    assert chunks.get(name, len(data)) is None
    assert not chunks.path(name).exists()
    assert chunks.put(name, data)
    assert chunks.get(name, len(data)) == data


def test_the_wrong_size_is_a_miss(make):
    name, data = chunk(1)
    chunks = make()
    chunks.put(name, data)
    assert chunks.get(name, len(data) - 1) is None


def test_least_recently_used_go_first(make):
    chunks = make(20_000)
    names = [chunk(number) for number in range(60)]
    for age, (name, data) in enumerate(names):
        chunks.put(name, data)
        os.utime(chunks.path(name), (1_000_000 + age, 1_000_000 + age)) if chunks.path(
            name
        ).exists() else None
        chunks.get(*(names[0][0], 1000))
    chunks.trim()
    assert chunks.total() <= 20_000
    assert chunks.get(names[0][0], 1000) is not None, "it was read all the time"
    assert chunks.get(names[-1][0], 1000) is not None
    assert chunks.get(names[1][0], 1000) is None


def test_the_cap_holds_across_processes_that_put_little(make):
    for process in range(12):
        chunks = make(100_000)
        for number in range(12):
            name, data = chunk(process * 100 + number)
            chunks.put(name, data)
    assert make(100_000).total() <= 100_000 + 12 * 1000


def test_the_directory_may_vanish(make, tmp_path):
    chunks = make()
    name, data = chunk(1)
    chunks.put(name, data)
    shutil.rmtree(tmp_path / "chunks")
    assert chunks.get(name, len(data)) is None
    assert chunks.put(name, data)
    assert chunks.get(name, len(data)) == data


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_disk_that_refuses_is_no_failure(make, tmp_path):
    (tmp_path / "chunks").mkdir(mode=0o500)
    name, data = chunk(1)
    assert not make().put(name, data)


def test_no_space_is_no_failure(make, monkeypatch):
    def full(*args, **keywords):
        raise OSError(28, "No space left on device")

    chunks = make()
    name, data = chunk(1)
    monkeypatch.setattr("os.rename", full)
    assert not chunks.put(name, data)
    monkeypatch.undo()
    assert chunks.total() == 0


HAMMER = """
import sys
from pathlib import Path
from lazybuild.oci import digest
from lazybuild.store.chunks import Chunks
root = Path(sys.argv[1])
chunks = Chunks(root / "chunks", root / "locks", 200_000)
for number in range(400):
    data = (number % 150).to_bytes(4, "big") * 1000
    name = digest.of(data)
    found = chunks.get(name, len(data))
    assert found in (None, data)
    assert found or chunks.put(name, data), "a put failed"
"""


def test_processes_share_it(tmp_path):
    (tmp_path / "locks").mkdir()
    children = [
        subprocess.Popen([sys.executable, "-c", HAMMER, str(tmp_path)], stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    assert [(child.communicate()[1], child.returncode) for child in children] == [(b"", 0)] * 4
