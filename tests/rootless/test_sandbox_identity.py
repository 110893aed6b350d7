"""Who a step is, what it may do, and what it may not: the guest's view, over a real overlay."""

import base64
import platform
import struct
import sysconfig

import pytest
from support.stepdriver import started

pytestmark = pytest.mark.rootless

DOCKER_CAPS = "00000000a80425fb"
ALL_CLEAR = "0" * 16
X86 = platform.machine() == "x86_64"

IMPORTED = ("resource", "traceback", "signal", "linecache", "tokenize", "_socket", "fcntl")

REFUSED = {  # x86_64, aarch64
    "add_key": (248, 217),
    "keyctl": (250, 219),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_by_handle_at": (304, 265),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "syslog": (103, 116),
    "fsopen": (430, 430),
    "open_tree": (428, 428),
}


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    with started(tmp_path_factory.mktemp("identity") / "store") as driver:
        yield driver


def status_of(text: str) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", "uid=0(root) gid=0(root) groups=0(root)"),
        ("root", "uid=0(root) gid=0(root) groups=0(root)"),
        ("alice", "uid=1000(alice) gid=1000(alice) groups=1000(alice),4(adm),29(audio)"),
        ("1000", "uid=1000(alice) gid=1000(alice) groups=1000(alice),4(adm),29(audio)"),
        ("alice:staff", "uid=1000(alice) gid=50(staff) groups=50(staff)"),
        ("1000:7", "uid=1000(alice) gid=7 groups=7"),
        ("4242", "uid=4242 gid=0(root) groups=0(root)"),
        ("4242:4343", "uid=4242 gid=4343 groups=4343"),
    ],
)
def test_ids_and_groups_are_exactly_what_the_image_says(box, user, expected):
    assert box.run("id", user=user).out.strip() == expected


def test_unknown_user_and_group_and_ids_out_of_range(box):
    assert "unable to find user bob" in box.run("true", user="bob").message
    assert "unable to find group bobs" in box.run("true", user="root:bobs").message
    assert "out of range" in box.run("true", user="4294967295").message


def test_a_user_beyond_the_mapped_range_is_an_error_that_names_it(box):
    result = box.run("id", "-u", user="2000000000")
    if box.host["userns"]:
        assert result.error == "BuildError"
        assert "cannot become user 2000000000" in result.message
    else:
        assert result.out == "2000000000\n"


def test_home_comes_from_passwd_unless_given(box):
    assert box.sh("echo $HOME", user="alice").out == "/home/alice\n"
    assert box.sh("echo $HOME", user="4242").out == "/\n"
    assert box.sh("echo $HOME", env={"HOME": "/own", "PATH": "/bin"}).out == "/own\n"


def test_environment_is_exactly_the_steps(box):
    result = box.run("env", env={"PATH": "/bin", "A": "1 2", "UMLAUT": "ä"})
    assert sorted(result.out.splitlines()) == ["A=1 2", "HOME=/root", "PATH=/bin", "UMLAUT=ä"]


def test_nothing_of_the_builder_is_visible(box):
    result = box.sh(
        "cat /proc/[0-9]*/environ | tr '\\0' '\\n'; cat /proc/1/cmdline | tr '\\0' '\\n';"
        "ls -l /proc/1/fd /proc/1/root /proc/1/cwd; ls -1 /proc | grep '^[0-9]' "
    )
    assert "CANARY" not in result.out + result.err
    assert "store" not in result.out + result.err


def test_descriptors_are_the_standard_three(box):
    result = box.sh("for fd in /proc/self/fd/*; do echo ${fd##*/} $(readlink $fd); done")
    found = dict(line.split(" ", 1) for line in result.out.splitlines() if " " in line)
    assert found["0"] == "/dev/null"
    assert found["1"].startswith("pipe:")
    assert set(found) <= {"0", "1", "2", "3"}, found  # 3 is the one of the listing
    listing = box.sh("ls -l /proc/*/fd 2>&1")
    assert "memfd" not in listing.out
    assert "store" not in listing.out


def test_capabilities_of_root_and_of_a_user(box):
    root = status_of(box.run("cat", "/proc/self/status").out)
    user = status_of(box.run("cat", "/proc/self/status", user="alice").out)
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert root[name] == DOCKER_CAPS, name
    assert (user["CapPrm"], user["CapEff"], user["CapBnd"]) == (ALL_CLEAR, ALL_CLEAR, DOCKER_CAPS)
    for status in (root, user):
        assert (status["CapInh"], status["CapAmb"]) == (ALL_CLEAR, ALL_CLEAR)
        assert (status["NoNewPrivs"], status["Seccomp"], status["Umask"]) == ("0", "2", "0022")
        assert status["SigIgn"] == status["SigBlk"] == ALL_CLEAR


def test_setuid_programs_work(box):
    image = [("copy", "/bin/suid", "/bin/id"), ("chmod", "/bin/suid", 0o4755)]
    result = box.run("suid", user="alice", image=image)
    assert "euid=0(root)" in result.out


def test_file_capabilities_work(box):
    net_bind = 1 << 10
    data = struct.pack("<5I", 0x02000001, net_bind, 0, 0, 0)
    image = [
        ("copy", "/bin/capable", "/bin/cat"),
        ("xattr", "/bin/capable", ("security.capability", base64.b64encode(data).decode())),
    ]
    result = box.run("capable", "/proc/self/status", user="alice", image=image)
    assert int(status_of(result.out)["CapEff"], 16) == net_bind


def test_ownership_can_be_given_away_and_ids_dropped(box):
    assert box.sh("touch /f && chown 42:65534 /f && stat -c %u:%g /f").out == "42:65534\n"
    drop = "$) = '65534 65534'; $( = 65534; $> = 42; print $>, ' ', $);"
    write = " open(F, '>', '/tmp/by_apt') or die $!; print ' wrote'"
    result = box.run("perl", "-e", drop + write)
    assert (result.out, result.err) == ("42 65534 65534 wrote", "")


@pytest.mark.parametrize("name", REFUSED)
def test_dangerous_system_calls_are_refused(box, name):
    number = REFUSED[name][0 if X86 else 1]
    result = box.run("perl", "-e", f"print syscall({number},0,0,0,0,0), ' ', $!+0")
    assert result.out == "-1 1", name  # EPERM


def test_clone3_and_calls_newer_than_the_profile_say_enosys(box):
    for number in (435, 500):
        result = box.run("perl", "-e", f"print syscall({number},0,0,0,0,0), ' ', $!+0")
        assert result.out == "-1 38", number


def test_ptrace_is_there_as_under_docker(box):
    number = 101 if X86 else 117
    assert box.run("perl", "-e", f"print syscall({number},0,0,0,0)").out == "0"  # PTRACE_TRACEME


def test_no_socket_to_the_hypervisor_or_the_kernels_ciphers(box):
    number = 41 if X86 else 198
    for family, expected in ((40, "-1 1"), (38, "-1 1")):
        result = box.run("perl", "-e", f"print syscall({number},{family},1,0), ' ', $!+0")
        assert result.out == expected, family
    assert box.run("perl", "-e", f"print syscall({number},1,1,0) > 0").out == "1"


def test_no_namespace_by_clone(box):
    number, newuser = (56, 0x10000000) if X86 else (220, 0x10000000)
    result = box.run("perl", "-e", f"print syscall({number},{newuser | 17},0,0,0,0), ' ', $!+0")
    assert result.out == "-1 1"


def test_device_nodes_give_no_access(box):
    result = box.sh("mknod /disk b 254 0; head -c1 /disk | wc -c; mknod /null2 c 1 3 && cat /null2")
    assert result.out.strip() == "0"
    assert result.status != 0
    assert "ermi" in result.err  # Operation not permitted, Permission denied


def test_init_can_be_neither_killed_nor_read(box):
    script = "kill -9 1; kill -INT 1; kill -TERM 1; cat /proc/1/mem; cat /proc/1/maps; echo alive"
    result = box.sh(script)
    assert result.out.endswith("alive\n")
    assert (result.status, result.error) == (0, "")


def test_pid_and_names_are_the_steps_own(box):
    assert box.sh("echo $$; hostname").out == "2\nbuildkitsandbox\n"
    assert box.run("hostname", hostname="other").out == "other\n"


def test_limits_of_the_step(box):
    ulimits = [{"name": "nofile", "soft": 100, "hard": 200}]
    result = box.sh("ulimit -Sn; ulimit -Hn", ulimits=ulimits)
    assert result.out == "100\n200\n"


def test_a_limit_that_cannot_be_had_is_named(box):
    ulimits = [{"name": "nofile", "soft": 2**40, "hard": 2**40}]
    result = box.run("true", ulimits=ulimits)
    assert result.error == "BuildError"
    assert "ulimit" in result.message


def test_the_image_cannot_slip_code_into_the_sandbox(box):
    """Imports after the root has changed would come from the image and run with all privileges."""
    place = sysconfig.get_paths()["stdlib"]
    evil = "open('/pwned', 'w').close()"
    image = [("mkdir", place), *(("file", f"{place}/{it}.py", evil) for it in IMPORTED)]
    ulimits = [{"name": "core", "soft": 0, "hard": 0}]
    result = box.sh("ulimit -c; ls /", image=image, ulimits=ulimits, network="none")
    assert result.out.startswith("0\n"), result
    assert "pwned" not in result.out
