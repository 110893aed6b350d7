from pathlib import Path

import pytest

from lazybuild.errors import BuildError
from lazybuild.executor import network
from lazybuild.executor.output import LONGEST, Lines
from lazybuild.executor.run import Exit, _in_order, _verdict
from lazybuild.executor.spec import BindMount, FileMount, Limit, StepSpec, TmpfsMount
from lazybuild.llb.ops import SecurityMode

ROOT = Path("/rootfs")


def spec(**changes):
    return StepSpec(**{"argv": ("true",), "rootfs": ROOT, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"argv": ()}, "needs a command"),
        ({"argv": ("",)}, "needs a command"),
        ({"argv": ("a\0b",)}, "NUL"),
        ({"env": {"A=B": "c"}}, "environment variable"),
        ({"env": {"": "c"}}, "environment variable"),
        ({"env": {"A": "\0"}}, "environment variable"),
        ({"cwd": "relative"}, "absolute"),
        ({"hostname": ""}, "hostname"),
        ({"hostname": "h" * 65}, "hostname"),
        ({"security": SecurityMode.INSECURE}, "not allowed"),
        ({"security": "anything"}, "not allowed"),
        ({"security": 7}, "not allowed"),
        ({"network": "bridge"}, "unknown network mode"),
    ],
)
def test_what_is_not_known_to_be_good_is_refused(changes, message):
    with pytest.raises(BuildError, match=message):
        spec(**changes)


def test_limits_are_checked():
    with pytest.raises(BuildError, match="unknown ulimit 'files'"):
        Limit(name="files", soft=1, hard=1)
    with pytest.raises(BuildError, match="above hard"):
        Limit(name="nofile", soft=2, hard=1)
    with pytest.raises(BuildError, match="above hard"):
        Limit(name="nofile", soft=-1, hard=1)
    assert Limit(name="nofile", soft=5, hard=-1).number == 7


def test_secrets_do_not_show_in_a_repr():
    mount = FileMount(dest="/run/secrets/a", data=b"s3cret")
    assert "s3cret" not in repr(spec(mounts=(mount,), env={"TOKEN": "s3cret"}))


def test_parents_are_mounted_first_and_the_steps_own_mounts_last():
    inner = TmpfsMount(dest="/a/b/c")
    outer = BindMount(source=ROOT, dest="/a/")
    hosts = FileMount(dest="/etc/hosts", data=b"own")
    order = _in_order(spec(mounts=(inner, outer, hosts)))
    assert [it.dest for it in order] == [
        "/a/",
        "/etc/resolv.conf",
        "/etc/hosts",
        "/etc/hosts",
        "/a/b/c",
    ]
    assert order[3] is hosts


def test_hosts_file_and_bad_entries():
    text = network.hosts("box", [("a", "[::1]"), ("b", "host-gateway")]).decode()
    assert text.splitlines()[2:] == ["::1\ta", "127.0.0.1\tb"]
    for name, address in (("a b", "1.2.3.4"), ("", "1.2.3.4"), ("a", "1.2.3"), ("a\n", "1.2.3.4")):
        with pytest.raises(BuildError):
            network.hosts("box", [(name, address)])
    with pytest.raises(BuildError, match="host name"):
        network.hosts("box\n1.2.3.4 a")


def test_a_host_without_resolv_conf_gives_an_empty_one(tmp_path):
    assert network.resolv_conf(tmp_path / "none") == b""


def test_lines_are_whole_until_a_pause_or_a_limit(monkeypatch):
    seen = []
    lines = Lines(1, lambda stream, data: seen.append(data))
    lines.feed(b"one\ntwo\nthr")
    lines.feed(b"ee\n")
    assert seen == [b"one\ntwo\n", b"three\n"]
    lines.feed(b"50%")
    lines.pause()
    assert lines.waiting
    monkeypatch.setattr("lazybuild.executor.output.PAUSE", 0.0)
    lines.pause()
    assert seen[2:] == [b"50%"]
    lines.feed(b"x" * (LONGEST + 1))
    assert len(seen[3]) == LONGEST + 1
    lines.flush()
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("reports", "text"),
    [
        (b"exit 0\n", "exit code: 0"),
        (b"exit 3\n", "exit code: 3"),
        (b"exit 137\n", "exit code: 137: killed, probably for lack of memory"),
        (b"signal 9\n", "exit code: 137: killed, probably for lack of memory"),
        (b"signal 15\n", "exit code: 143: killed by signal 15"),
        (b"127 cannot run x: no\nexit 127\n", "exit code: 127: cannot run x: no"),
        (b"", "exit code: 137: killed, probably for lack of memory"),
    ],
)
def test_what_the_reports_mean(reports, text):
    assert str(_verdict(reports, cancelled=False)) == text


def test_a_failure_of_ours_outranks_the_exit_status():
    with pytest.raises(BuildError, match="no mount"):
        _verdict(b"exit 0\nbuild no mount\n", cancelled=False)
    with pytest.raises(RuntimeError, match="odd"):
        _verdict(b"bug odd\n", cancelled=False)


def test_a_cancelled_step_says_so():
    assert str(_verdict(b"", cancelled=True)) == "cancelled"
    assert str(Exit(status=137, signal=9)) != "cancelled"
