"""Atomic files, locks that die with their holders, and trees that can always be removed."""

import os
import subprocess
import sys
import threading
import time

import pytest

from lazybuild.store import disk, lock
from lazybuild.store.remove import remove_tree
from lazybuild.store.scratch import Scratch


def test_atomic_writes_replace_and_keep_modes(tmp_path):
    path = tmp_path / "f"
    disk.write_atomic(path, b"1")
    disk.write_atomic(path, b"22", mode=0o640)
    assert path.read_bytes() == b"22"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [item.name for item in tmp_path.iterdir()] == ["f"]


def test_the_first_of_new_files_wins(tmp_path):
    disk.write_new(tmp_path / "f", b"1")
    disk.write_new(tmp_path / "f", b"2")
    assert (tmp_path / "f").read_bytes() == b"1"
    assert [item.name for item in tmp_path.iterdir()] == ["f"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "f"
    disk.write_atomic(path, b"1")

    def broken(*args):
        raise OSError(5, "no")

    monkeypatch.setattr("os.rename", broken)
    with pytest.raises(OSError, match="no"):
        disk.write_atomic(path, b"2")
    assert path.read_bytes() == b"1"
    assert [item.name for item in tmp_path.iterdir()] == ["f"]


def test_hostile_trees_go_and_nothing_else(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("x")
    holder = tmp_path / "tmp"
    tree = holder / "tree"
    tree.mkdir(parents=True)
    (tree / "link").symlink_to(outside)
    (tree / "closed" / "inner").mkdir(parents=True)
    (tree / "closed" / "inner" / "f").write_text("x")
    os.mkfifo(tree / "fifo")
    (tree / "closed" / "inner").chmod(0)
    (tree / "closed").chmod(0o555)
    remove_tree(tree)
    assert list(holder.iterdir()) == []
    assert (outside / "keep").read_text() == "x"


def test_a_deep_tree_goes(tmp_path):
    top = tmp_path / "deep"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    remove_tree(top)
    assert list(tmp_path.iterdir()) == []


def test_two_may_remove_the_same_tree(tmp_path):
    for number in range(20):
        top = tmp_path / f"t{number}"
        for name in range(20):
            (top / f"d{name}" / "e").mkdir(parents=True)
            (top / f"d{name}" / "f").touch()
        (top / "/".join("x" * 150)).mkdir(parents=True)
        failures = []

        def work(top=top, failures=failures):
            try:
                remove_tree(top)
            except OSError as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert not top.exists()


def test_tree_size_counts_blocks(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"x" * 100_000)
    assert disk.tree_size(tmp_path) >= 100_000
    assert disk.tree_size(tmp_path / "absent") == 0


def test_a_lock_is_held_by_one_and_leaves_no_file(tmp_path):
    path = tmp_path / "l"
    with lock.held(path):
        assert lock.try_acquire(path) is None
    fd = lock.try_acquire(path)
    assert fd is not None
    lock.release(path, fd)
    assert list(tmp_path.iterdir()) == []


HOLD = """
import sys, time
from pathlib import Path
from lazybuild.store import lock
from lazybuild.store.remove import remove_tree
from lazybuild.store.scratch import Scratch
root = Path(sys.argv[1])
lock._acquire(root / "l", 0)
file = Scratch(root).file("ingest")
with Scratch(root).directory("step") as place:
    (place / "x").touch()
    print("ready", flush=True)
    time.sleep(60)
"""


def test_locks_and_scratch_of_the_killed_are_free(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "ready\n"
    scratch = Scratch(tmp_path)
    assert lock.try_acquire(tmp_path / "l") is None
    (tmp_path / "l").unlink()
    scratch.sweep(newborn=-1)
    assert len(list(tmp_path.iterdir())) == 2
    child.kill()
    child.wait()
    child.stdout.close()
    assert scratch.sweep() == []
    assert len(list(tmp_path.iterdir())) == 2, "what is that young may have no lock yet"
    old = time.time() - 3600
    for path in tmp_path.iterdir():
        os.utime(path, (old, old))
    assert scratch.sweep() == []
    assert list(tmp_path.iterdir()) == []
