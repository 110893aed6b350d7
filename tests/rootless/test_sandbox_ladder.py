"""Hosts that lack something, made by laying mounts over this one in a namespace of the test's."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.rootless

CLIMB = """
import sys
from pathlib import Path
from lazybuild.errors import HostError
from lazybuild.executor import ladder, mapping, trial
from lazybuild.linux import syscalls
{before}
try:
    host = ladder.probe(Path(sys.argv[1]), force={force!r})
    ladder.enter(host)
    print(host.tier, host.ids, host.reason)
    print(open("/proc/self/uid_map").read().split(), sep="\\n")
    {after}
except HostError as error:
    print("HostError", error, "|", error.hint)
"""


def climb(tmp_path, before="", after="pass", force=None, **environment) -> str:
    script = CLIMB.format(before=before, after=after, force=force)
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "store")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.getcwd(), **environment},
    )
    assert run.stderr == ""
    return run.stdout


ENTERED = "ladder.enter(ladder.probe(Path(sys.argv[1])))"


def test_this_host_can_build(tmp_path):
    out = climb(tmp_path)
    assert out.startswith("T"), out
    assert ("user namespace with a range of ids" in out) == (os.getuid() != 0)
    if os.getuid():
        assert int(out.split("'")[-2]) >= 65536  # the count of the last range


def test_t3_when_asked_for(tmp_path):
    assert climb(tmp_path, force="T3").startswith("T3")


def test_root_inside_a_user_namespace_needs_no_second_one(tmp_path):
    """As in a pod with hostUsers: false; also the tier of a build started by a build."""
    out = climb(tmp_path, before=ENTERED)
    assert "all root with CAP_SYS_ADMIN" in out


def test_a_usable_dev_fuse_means_lazy(tmp_path):
    usable = os.access("/dev/fuse", os.R_OK | os.W_OK)
    assert climb(tmp_path).startswith("T1" if usable else "T3")


def test_no_dev_fuse_means_eager(tmp_path):
    hide = f"{ENTERED}\nsyscalls.attach_filesystem('tmpfs', '/dev')"
    out = climb(tmp_path, before=hide)
    assert out.startswith("T3 all")
    assert "there is no /dev/fuse" in out


def test_a_place_that_can_be_no_store_is_named(tmp_path):
    """/proc has no directory to make: the trial's own failure, on the real store path."""
    script = f"{ENTERED}\nsys.argv[1] = '/proc/lazybuild'"
    assert "HostError the store can't be used: /proc/lazybuild" in climb(tmp_path, before=script)


def test_a_store_on_an_overlay_means_copies(tmp_path):
    """As in a container without a volume."""
    for name in ("lower", "upper", "work", "store"):
        (tmp_path / name).mkdir()
    options = [("userxattr", ""), ("lowerdir", str(tmp_path / "lower"))]
    options += [("upperdir", str(tmp_path / "upper")), ("workdir", str(tmp_path / "work"))]
    place = str(tmp_path / "store")
    mount = f"syscalls.attach_filesystem('overlay', {place!r}, {tuple(options)!r})"
    out = climb(tmp_path, before=f"{ENTERED}\n{mount}")
    assert out.startswith(f"T4 all root with CAP_SYS_ADMIN; overlay does not work on {place}")
    assert "each step works on a copy" in out


def test_t4_when_asked_for(tmp_path):
    assert climb(tmp_path, force="T4").startswith("T4")


@pytest.mark.skipif(os.getuid() == 0, reason="root needs no helper")
def test_missing_helpers_and_ranges_are_named(tmp_path):
    assert "newuidmap is not installed" in climb(tmp_path, PATH="/nowhere")
    lost = f"mapping.SUBUID = Path({str(tmp_path / 'subuid')!r})"
    out = climb(tmp_path, before=lost)
    assert "has no range for" in out
    assert "usermod --add-subuids" in out


@pytest.mark.skipif(os.getuid() == 0, reason="root needs no helper")
def test_a_range_that_is_not_ours_is_refused_by_the_helper(tmp_path):
    (tmp_path / "subuid").write_text(f"{os.getuid()}:4000000:65536\n")
    out = climb(tmp_path, before=f"mapping.SUBUID = Path({str(tmp_path / 'subuid')!r})")
    assert "newuidmap failed: newuidmap: uid range" in out


def test_mounts_of_the_build_stay_inside(tmp_path):
    (tmp_path / "place").mkdir()
    place = str(tmp_path / "place")
    mounted = f"syscalls.attach_filesystem('tmpfs', {place!r})"
    mounted += "; print(open('/proc/self/mountinfo').read())"
    assert str(tmp_path / "place") in climb(tmp_path, after=mounted)
    with open("/proc/self/mountinfo") as file:
        assert str(tmp_path / "place") not in file.read()


def test_no_group_of_the_caller_comes_along(tmp_path):
    out = climb(tmp_path, after="import os; print('groups', os.getgroups(), os.getuid())")
    if os.getuid():
        assert "groups [] 0" in out
