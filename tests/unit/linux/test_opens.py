"""Which files are opened, and what is said where not all can be seen."""

import os
import subprocess
from pathlib import Path

import pytest
from support.inside import inside

from lazybuild.linux import opens
from lazybuild.linux.opens import Opens

FIRST = Path("/proc/sys/user/max_inotify_instances")
WATCHES = Path("/proc/sys/user/max_inotify_watches")


def places(root, *names):
    return [(os.fsencode(root / name), os.fsencode(name)) for name in names]


def test_opens_are_seen_in_their_order(tmp_path):
    (tmp_path / "d").mkdir()
    for name in ("a", "b", "d/c"):
        (tmp_path / name).write_text(name)
    found = Opens(places(tmp_path, "", "d"))
    text = "cat d/c a d/c > new; cat new; mv b e; cat e; ls d"
    assert subprocess.run(["sh", "-c", text], cwd=tmp_path, check=False).returncode == 0
    assert found.stop() == [b"d/c", b"a"]
    assert found.stop() == [b"d/c", b"a"]
    assert found.lacking == ""


def test_a_directory_that_is_none_is_left_out(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a").touch()
    found = Opens([*places(tmp_path, "none"), *places(tmp_path, "d")])
    (tmp_path / "d/a").read_bytes()
    assert (found.stop(), found.lacking) == ([b"d/a"], "")


def watched(root, limit, number):
    """What is seen of three directories, in a namespace with a limit of its own."""
    for name in "abc":
        (root / name).mkdir()
        (root / name / "f").touch()
    limit.write_text(number)
    found = Opens(places(root, *"abc"))
    for name in "abc":
        (root / name / "f").read_bytes()
    return found.stop(), found.lacking


@pytest.mark.rootless
@pytest.mark.skipif(os.getuid() == 0, reason="limits of a user namespace")
def test_the_kernels_limits_are_told_and_harm_nothing(tmp_path):
    seen, why = inside(watched, tmp_path, WATCHES, "2")
    assert seen == [b"a/f", b"b/f"]
    assert "max_user_watches" in why


@pytest.mark.rootless
@pytest.mark.skipif(os.getuid() == 0, reason="limits of a user namespace")
def test_without_any_instance_nothing_is_seen_and_it_is_told(tmp_path):
    seen, why = inside(watched, tmp_path, FIRST, "0")
    assert seen == []
    assert "max_user_instances" in why


def test_our_own_limits_are_told(tmp_path, monkeypatch):
    (tmp_path / "a").touch()
    found = Opens(places(tmp_path, ""), seconds=-1)
    (tmp_path / "a").read_bytes()
    assert (found.stop(), found.lacking) == ([], "time was enough to watch 0 directories")
    monkeypatch.setattr(opens, "MAX_DIRECTORIES", 1)
    (tmp_path / "d").mkdir()
    assert "more than 1 directories" in Opens(places(tmp_path, "", "d")).lacking


def test_a_flood_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(opens, "MAX_FILES", 10)
    for number in range(20):
        (tmp_path / str(number)).touch()
    found = Opens(places(tmp_path, ""))
    for number in range(20):
        (tmp_path / str(number)).read_bytes()
    assert len(found.stop()) == 10
    assert "more than 10 files" in found.lacking
