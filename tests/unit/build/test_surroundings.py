"""What the doctor finds around a builder: every finding has a remedy."""

import os
import resource
from types import SimpleNamespace

import pytest

from lazybuild.build import surroundings
from lazybuild.executor import idmap, mapping


def only(found):
    (finding,) = found
    assert finding.fix
    return finding


@pytest.fixture
def helper(tmp_path, monkeypatch):
    path = tmp_path / "newuidmap"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return path


def test_a_helper_that_lost_its_privilege_is_named(helper):
    finding = only(surroundings.helpers())
    assert finding.verdict == "no"
    assert f"chmod u+s {helper}" in finding.fix


def test_a_helper_on_a_nosuid_mount_is_named(helper, monkeypatch):
    monkeypatch.setattr(surroundings, "_privileged", lambda path: True)
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_NOSUID))
    assert "nosuid" in only(surroundings.helpers()).text
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=0))
    assert list(surroundings.helpers()) == []


def test_ranges_that_two_users_have_are_named(tmp_path):
    me, path = idmap.owners(os.getuid())[0], tmp_path / "subuid"
    path.write_text(f"{me}:100000:65536\nsomebody:165536:65536\n")
    assert list(surroundings.overlaps((path,))) == []
    path.write_text(f"{me}:100000:65536\nsomebody:165535:65536\n")
    assert "165535:65536" in only(surroundings.overlaps((path,))).text
    assert list(surroundings.overlaps((tmp_path / "none",))) == []


@pytest.mark.parametrize(
    ("label", "count"),
    [
        ("docker-default (enforce)", 1),
        ("cri-containerd.apparmor.d (enforce)", 1),
        ("unconfined", 0),
    ],
)
def test_the_profile_of_a_container_is_named(tmp_path, label, count):
    (tmp_path / "self/attr").mkdir(parents=True)
    (tmp_path / "self/attr/current").write_text(label + "\n")
    assert len(list(surroundings.confinement(tmp_path))) == count


@pytest.mark.parametrize(("limit", "count"), [("3", 1), ("28633", 0), ("junk", 0)])
def test_a_low_limit_of_namespaces_is_named(tmp_path, limit, count):
    (tmp_path / "sys/user").mkdir(parents=True)
    (tmp_path / "sys/user/max_user_namespaces").write_text(limit + "\n")
    assert len(list(surroundings.namespaces(tmp_path))) == count


@pytest.mark.parametrize(
    ("line", "count"), [("subid: sss", 1), ("subid: files sss", 0), ("passwd: sss", 0), ("", 0)]
)
def test_ranges_that_nobody_asks_for_are_named(tmp_path, monkeypatch, line, count):
    (tmp_path / "nsswitch.conf").write_text(f"hosts: dns\n{line}\n")
    for name in ("SUBUID", "SUBGID"):
        monkeypatch.setattr(mapping, name, tmp_path / "none")
    found = list(surroundings.sources(tmp_path / "nsswitch.conf"))
    assert [it.name for it in found] == ["ranges"] * count


@pytest.mark.parametrize(
    ("actions", "value", "count"), [("true", "1", 1), ("true", "0", 0), ("", "1", 0)]
)
def test_a_runner_of_github_is_told_its_step(tmp_path, monkeypatch, actions, value, count):
    place = tmp_path / "sys/kernel/apparmor_restrict_unprivileged_userns"
    place.parent.mkdir(parents=True)
    place.write_text(value)
    monkeypatch.setenv("GITHUB_ACTIONS", actions)
    found = list(surroundings.runner(tmp_path))
    assert ["sudo sysctl -w" in it.fix for it in found] == [True] * count


@pytest.mark.parametrize(("hard", "count"), [(1024, 1), (resource.RLIM_INFINITY, 0), (1 << 20, 0)])
def test_a_low_limit_of_files_is_named(monkeypatch, hard, count):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, hard))
    assert len(list(surroundings.files())) == count


def test_few_inodes_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_files=10**6, f_favail=9))
    assert "9 more files" in only(surroundings.inodes(tmp_path)).text
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_files=0, f_favail=0))
    assert list(surroundings.inodes(tmp_path)) == []


def test_no_home_is_named_unless_the_store_is_elsewhere(tmp_path, monkeypatch):
    for name in ("HOME", "LAZYBUILD_ROOT", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert "not set" in only(surroundings.home()).text
    monkeypatch.setenv("LAZYBUILD_ROOT", str(tmp_path))
    assert list(surroundings.home()) == []
