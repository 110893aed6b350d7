"""What a step sees mounted, and that none of it lands in the layer, whatever the image holds."""

import os
import socket
import threading

import pytest
from support.stepdriver import started

from lazybuild.errors import BuildError
from lazybuild.executor.spec import TmpfsMount

pytestmark = pytest.mark.rootless

AN_HOUR = 1_600_000_000_000_000_000


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    with started(tmp_path_factory.mktemp("mounts") / "store") as driver:
        yield driver


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "canary"
    path.write_text("untouched")
    yield path
    assert path.read_text() == "untouched"


def options_of(mountinfo: str) -> dict[str, set[str]]:
    fields = [line.split() for line in mountinfo.splitlines()]
    return {it[4]: set(it[5].split(",")) | {it[it.index("-") + 1]} for it in fields}


def test_the_usual_mounts_are_there_with_dockers_flags(box):
    found = options_of(box.run("cat", "/proc/self/mountinfo").out)
    assert {"proc", "nosuid", "nodev", "noexec"} <= found["/proc"]
    assert {"tmpfs", "nosuid"} <= found["/dev"]
    assert "devpts" in found["/dev/pts"]
    assert {"tmpfs", "nosuid", "nodev", "noexec"} <= found["/dev/shm"]
    assert {"mqueue", "nosuid", "nodev", "noexec"} <= found["/dev/mqueue"]
    assert {"ro", "nosuid", "nodev", "noexec"} <= found["/sys"]
    for path in ("/proc/sys", "/proc/bus", "/proc/fs", "/proc/irq"):
        assert "ro" in found[path], path
    assert not any(path.startswith("/.") or "/store/" in path for path in found)


def test_kernel_secrets_are_masked(box):
    result = box.sh("cat /proc/kcore /proc/keys /proc/timer_list /proc/interrupts 2>/dev/null")
    assert result.out == ""
    assert (
        box.sh("ls /proc/acpi /proc/scsi /sys/firmware 2>/dev/null | grep -v :").out.strip() == ""
    )


def test_kernel_settings_cannot_be_written(box):
    paths = (
        "/proc/sys/kernel/hostname /proc/sysrq-trigger /proc/sys/vm/drop_caches /sys/power/state"
    )
    script = f"for f in {paths}; do (echo 0 > $f) 2>/dev/null && echo wrote $f; done; true"
    assert box.sh(script).out == ""


def test_devices_work_and_links_lead_where_they_should(box):
    result = box.sh(
        "echo x > /dev/null; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c;"
        "echo out > /dev/stdout; echo err > /dev/stderr; readlink /dev/fd /dev/ptmx"
    )
    assert result.out.split() == ["4", "4", "out", "/proc/self/fd", "pts/ptmx"]
    assert result.err == "err\n"


def test_a_user_can_open_dev_stdout(box):
    result = box.sh("echo out > /dev/stdout; echo err > /dev/stderr", user="alice")
    assert (result.out, result.err) == ("out\n", "err\n")


def test_stdin_is_empty(box):
    assert box.sh("cat | wc -c").out.strip() == "0"


def test_shm_has_the_size_asked_for(box):
    result = box.sh("head -c 5000000 /dev/zero > /dev/shm/f; wc -c < /dev/shm/f", shm_size=1 << 20)
    assert int(result.out) <= 1 << 20


def test_resolv_conf_and_hosts(box):
    extra = [["db", "10.1.2.3"], ["v6", "fd00::1"], ["me", "host-gateway"]]
    result = box.sh("cat /etc/hosts; echo ---; cat /etc/resolv.conf", extra_hosts=extra)
    hosts, resolv = result.out.split("---\n")
    assert "127.0.0.1\tlocalhost buildkitsandbox\n" in hosts
    assert "10.1.2.3\tdb\nfd00::1\tv6\n127.0.0.1\tme\n" in hosts
    with open("/etc/resolv.conf") as file:
        assert resolv == file.read()


def test_a_step_that_does_nothing_leaves_nothing(box):
    image = [("rm", "/dev"), ("rm", "/proc"), ("rm", "/sys"), ("time", "/etc", AN_HOUR)]
    result = box.run("/bin/stat", "-c", "%Y", "/etc", image=image)
    assert result.upper in ([], ["etc"])  # overlay copies a directory up to hold a mount point
    assert not any(os.path.lexists(f"{result.root}/{name}") for name in ("dev", "proc", "sys"))


def test_mount_points_are_removed_and_times_restored(box, tmp_path):
    (tmp_path / "source").mkdir()
    mounts = [
        {"kind": "bind", "source": str(tmp_path / "source"), "dest": "/new/deep/cache"},
        {"kind": "tmpfs", "dest": "/scratch"},
        {"kind": "file", "dest": "/run/secrets/token", "data": "s3cret"},
    ]
    script = "cat /run/secrets/token; echo x > /new/deep/cache/f; echo y > /scratch/f"
    result = box.sh(script, mounts=mounts)
    assert result.out == "s3cret", result.err
    assert [path for path in result.upper if path != "etc"] == []
    assert (tmp_path / "source/f").read_text() == "x\n"


def test_what_the_step_puts_next_to_a_mount_point_stays(box):
    mounts = [{"kind": "file", "dest": "/opt/app/secret", "data": "x"}]
    result = box.sh("echo mine > /opt/app/file", mounts=mounts)
    assert "opt/app/file" in result.upper
    assert "opt/app/secret" not in result.upper


def test_readonly_binds_and_selectors(box, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/f").write_text("inside")
    (tmp_path / "out").symlink_to("/a")  # absolute, but the source is its root
    bind = {"kind": "bind", "source": str(tmp_path), "dest": "/m", "readonly": True}
    result = box.sh("cat /m/f; echo x > /m/f", mounts=[{**bind, "selector": "out"}])
    assert result.out == "inside"
    assert "Read-only" in result.err


def test_a_selector_cannot_leave_its_source(box, tmp_path, canary):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/escape").symlink_to("../../../../../../../../" + str(canary.parent))
    bind = {"kind": "bind", "source": str(tmp_path / "cache"), "dest": "/m"}
    result = box.sh("cat /m/canary", mounts=[{**bind, "selector": "escape"}])
    assert "untouched" not in result.out
    assert result.error == "BuildError"


def test_a_selector_that_is_swapped_all_the_time_stays_contained(box, tmp_path, canary):
    """As two steps would that share a cache: a directory, a link out, and back again."""
    cache = tmp_path / "cache"
    (cache / "sub").mkdir(parents=True)
    (cache / "link").symlink_to("../../../../../../../.." + str(canary.parent))
    over = threading.Event()

    def swap():
        while not over.is_set():
            for source, target in (
                ("sub", "away"),
                ("link", "sub"),
                ("sub", "link"),
                ("away", "sub"),
            ):
                (cache / source).rename(cache / target)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        bind = {"kind": "bind", "source": str(cache), "dest": "/m", "selector": "sub/../sub"}
        results = [box.sh("cat /m/canary; ls /m", mounts=[bind]) for _ in range(25)]
    finally:
        over.set()
        thread.join()
    assert all("untouched" not in it.out and "canary" not in it.out for it in results)
    assert any(it.status == 0 for it in results)


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
@pytest.mark.parametrize("kind", ["link", "fifo", "file"])
def test_an_image_with_something_else_for_a_kernel_directory_is_refused(box, canary, name, kind):
    value = str(canary.parent) if kind == "link" else "text"
    image = [("rm", f"/{name}"), (kind, f"/{name}", value)]
    result = box.run("true", image=image)
    assert result.error == "BuildError"
    assert f"the image's /{name} is not a directory" in result.message


@pytest.mark.parametrize("name", ["resolv.conf", "hosts"])
def test_links_of_the_image_are_followed_inside_it_only(box, canary, name):
    link = "../../../../../.." + str(canary)
    result = box.sh(f"cat /etc/{name}; cat {canary}", image=[("link", f"/etc/{name}", link)])
    assert "untouched" not in result.out
    assert result.out
    assert result.status == 0  # the mount lies at the link's target inside the image
    assert f"etc/{name}" not in result.upper
    assert str(canary).lstrip("/") not in result.upper


def test_a_fifo_for_resolv_conf_is_covered(box):
    result = box.run("cat", "/etc/resolv.conf", image=[("fifo", "/etc/resolv.conf")])
    assert result.status == 0
    assert result.seconds < 5


def test_a_directory_for_hosts_is_refused(box):
    result = box.run("true", image=[("mkdir", "/etc/hosts")])
    assert "cannot mount over /etc/hosts" in result.message


def test_a_loop_of_links_ends(box):
    image = [("link", "/etc/hosts", "/etc/a"), ("link", "/etc/a", "/etc/hosts")]
    assert "Too many levels" in box.run("true", image=image).message


@pytest.mark.parametrize("link", ["/", "/proc", "../.."])
def test_a_target_that_leads_to_the_root_or_into_proc_is_contained(box, link, tmp_path):
    mounts = [{"kind": "bind", "source": str(tmp_path), "dest": "/a"}]
    result = box.sh(
        "test -r /proc/self/status && echo fine", image=[("link", "/a", link)], mounts=mounts
    )
    assert result.error == "BuildError" or result.out == "fine\n"


def test_a_secret_whose_target_is_a_link_out_stays_inside(box, canary):
    image = [("link", "/token", "../../../../.." + str(canary))]
    mounts = [{"kind": "file", "dest": "/token", "data": "s3cret"}]
    result = box.sh("cat /token", image=image, mounts=mounts)
    assert result.out == "s3cret"
    assert "token" not in result.upper


def test_a_secret_has_its_owner_and_mode(box):
    mounts = [{"kind": "file", "dest": "/s", "data": "x", "mode": 0o440, "uid": 1000, "gid": 50}]
    assert box.run("stat", "-c", "%u:%g %a", "/s", mounts=mounts).out == "1000:50 440\n"
    assert box.run("cat", "/s", user="4242:4242", mounts=mounts).status == 1


def test_a_mount_point_swapped_for_a_link_is_not_followed(box, canary):
    """The step moves the directory with the mount point away and lays a link out in its place."""
    mounts = [{"kind": "file", "dest": "/made/canary", "data": "x"}]
    script = f"mv /made /gone; ln -s {canary.parent} /made"
    result = box.sh(script, mounts=mounts)
    assert result.error == ""
    assert "gone/canary" not in result.upper


def test_a_mount_point_inside_a_cache_is_removed_from_it(box, tmp_path):
    (tmp_path / "cache").mkdir()
    mounts = [
        {"kind": "bind", "source": str(tmp_path / "cache"), "dest": "/c"},
        {"kind": "file", "dest": "/c/deep/secret", "data": "x"},
    ]
    assert box.run("cat", "/c/deep/secret", mounts=mounts).out == "x"
    assert os.listdir(tmp_path / "cache") == []


def test_working_directory_is_made_and_stays(box):
    result = box.run("pwd", cwd="/srv/app")
    assert result.out == "/srv/app\n"
    assert {"srv", "srv/app"} <= set(result.upper)


@pytest.mark.parametrize("cwd", ["/proc/self/fd/7", "/proc/self/cwd", "/proc/1/root", "/w"])
def test_working_directory_outside_the_root_is_refused(box, cwd):
    result = box.run("pwd", cwd=cwd, image=[("link", "/w", "/proc/self/fd/5")])
    assert result.error == "BuildError", result
    assert "working directory" in result.message


def test_a_command_through_a_descriptor_link_finds_nothing(box):
    for number in range(3, 12):
        result = box.run(f"/proc/self/fd/{number}/../../../bin/true")
        assert result.status in (126, 127), result


def test_working_directory_that_is_a_file(box):
    assert "working directory" in box.run("pwd", cwd="/etc/passwd").message


@pytest.mark.parametrize("dest", ["/", "/proc", "/proc/x", "/sys", "/dev", "rel", "/a/../b"])
def test_targets_that_nobody_may_mount_over(dest):
    with pytest.raises(BuildError, match="mount target"):
        TmpfsMount(dest=dest)


@pytest.mark.parametrize("name", ["passwd", "group"])
@pytest.mark.parametrize("kind", ["fifo", "link", "big"])
def test_hostile_account_files(box, name, kind):
    path = f"/etc/{name}"
    image = [("rm", path), (kind, path, "/dev/zero")]
    if kind == "big":
        image = [("truncate", path, 1 << 31)]
    result = box.run("true", user="alice", image=image)
    assert result.seconds < 5
    assert result.error == "BuildError" or (kind == "link" and name == "group"), result


def test_network_none_has_only_loopback(box):
    result = box.sh("ls /sys/class/net; cat /proc/net/dev | wc -l", network="none")
    assert result.out.split() == ["lo", "3"]


def test_loopback_works_without_a_network(box):
    """bind(2) to 127.0.0.1, then a datagram to itself: only an interface that is up takes it."""
    socket, bind, sendto = (41, 49, 44) if os.uname().machine == "x86_64" else (198, 200, 206)
    script = (
        f"my $s = syscall({socket},2,2,0); my $a = pack('S n C4 x8', 2, 7777, 127, 0, 0, 1);"
        f"my $m = 'x'; print syscall({bind},$s,$a,16), ' ', syscall({sendto},$s,$m,1,0,$a,16)"
    )
    assert box.run("perl", "-e", script, network="none").out == "0 1"


def test_network_of_the_host_by_default(box):
    with open("/proc/net/dev") as file:
        here = sorted(line.split(":")[0].strip() for line in file if ":" in line)
    result = box.run("cat", "/proc/net/dev")
    assert sorted(it.split(":")[0].strip() for it in result.out.splitlines() if ":" in it) == here


def test_a_socket_bound_into_the_step_can_be_reached(box, tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "agent"))
        (tmp_path / "agent").chmod(0o666)
        server.listen(1)
        mounts = [{"kind": "bind", "source": str(tmp_path / "agent"), "dest": "/run/agent.0"}]
        number = (41, 42) if os.uname().machine == "x86_64" else (198, 203)
        script = (
            f"my $s = syscall({number[0]},1,1,0); my $a = pack('S a108', 1, '/run/agent.0');"
            f"print syscall({number[1]}, $s, $a, length $a)"
        )
        result = box.run("perl", "-e", script, mounts=mounts)
    assert result.out == "0", result
    assert "run" not in result.upper
