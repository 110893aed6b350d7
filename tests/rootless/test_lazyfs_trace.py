"""Opens on a merged mount, as inotify tells them."""

import os
import subprocess

import pytest
from support.inside import inside

from lazybuild.linux import syscalls
from lazybuild.snapshots.lazyfs.trace import DirectoryLayer, OpenTrace

pytestmark = pytest.mark.rootless


def put(root, path, text=b"text"):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(text)


def merge(place, *names):
    for name in ("upper", "work", "merged"):
        (place / name).mkdir()
    lowers = ":".join(str(place / name) for name in reversed(names))
    options = f"userxattr,lowerdir={lowers},upperdir={place}/upper,workdir={place}/work"
    syscalls.mount("overlay", place / "merged", "overlay", 0, options)
    return place / "merged"


def traced(place):
    put(place / "base", "b/untraced")
    put(place / "one", "b/lib")
    put(place / "one", "b/config")
    put(place / "one", "a/deep/er/file")
    put(place / "two", "b/lib", b"newer")
    put(place / "two", "evil")
    (place / "one/evil").mkdir()
    merged = merge(place, "base", "one", "two")
    layers = [DirectoryLayer("1", place / "one"), DirectoryLayer("2", place / "two")]
    trace = OpenTrace(merged, layers)
    for path in ("b/lib", "a/deep/er/file", "b/untraced", "b/lib", "b/config"):
        subprocess.run(["cat", merged / path], stdout=subprocess.DEVNULL, check=True)
    put(merged, "b/made", b"by the step")
    os.listdir(merged / "b")
    found = trace.stop()
    assert trace.lacking == ""
    assert found == [("2", "b/lib"), ("1", "a/deep/er/file"), ("1", "b/config")]


def test_opens_are_told_by_layer_in_order_of_first_use(tmp_path):
    inside(traced, tmp_path)


def burst(place):
    for number in range(300):
        put(place / "one", f"d{number % 20}/f{number}")
    (place / "empty").mkdir()
    merged = merge(place, "one", "empty")
    with OpenTrace(merged, [DirectoryLayer("1", place / "one")]) as trace:
        for number in range(300):
            (merged / f"d{number % 20}/f{number}").read_bytes()
        found = trace.stop()
    assert found == [("1", f"d{number % 20}/f{number}") for number in range(300)]


def test_a_burst_of_opens_is_told_whole(tmp_path):
    inside(burst, tmp_path)


def executed(place):
    put(place / "one", "bin/run", b"#!/bin/sh\nexit 0\n")
    (place / "one/bin/run").chmod(0o755)
    (place / "empty").mkdir()
    merged = merge(place, "one", "empty")
    trace = OpenTrace(merged, [DirectoryLayer("1", place / "one")])
    subprocess.run([merged / "bin/run"], check=True)
    assert trace.stop() == [("1", "bin/run")]


def test_an_exec_is_an_open(tmp_path):
    inside(executed, tmp_path)
