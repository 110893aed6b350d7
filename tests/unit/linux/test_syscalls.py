import errno
import os
import subprocess
import sys

import pytest

from lazybuild.linux import caps, syscalls


def test_open_in_root_keeps_absolute_links_and_dotdot_inside(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/name").write_bytes(b"inside")
    (tmp_path / "up").symlink_to("../../../etc/name")
    (tmp_path / "absolute").symlink_to("/etc/name")
    root = os.open(tmp_path, os.O_PATH)
    try:
        for path in ("/up", "absolute", "../../etc/name"):
            fd = syscalls.open_in_root(root, path, os.O_RDONLY)
            assert os.read(fd, 10) == b"inside"
            os.close(fd)
    finally:
        os.close(root)


def test_open_in_root_refuses_magic_links():
    root = os.open("/", os.O_PATH)
    try:
        with pytest.raises(OSError, match="openat2 /proc/self/fd/0") as caught:
            syscalls.open_in_root(root, "/proc/self/fd/0")
    finally:
        os.close(root)
    assert caught.value.errno == errno.ELOOP


def test_descriptors_are_not_inherited(tmp_path):
    root = os.open("/", os.O_PATH)
    fd = syscalls.openat2(root, os.fspath(tmp_path))
    try:
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)
        os.close(root)


def test_a_failure_names_the_call_and_its_object():
    with pytest.raises(FileNotFoundError, match="mount /does/not/exist"):
        syscalls.mount("none", "/does/not/exist", "tmpfs")


def test_a_null_byte_is_refused_before_the_kernel_cuts_the_name():
    with pytest.raises(ValueError, match="null byte"):
        syscalls.mount("none", "/tmp\0/x", "tmpfs")


def test_filesystem_magic_of_proc():
    fd = os.open("/proc", os.O_PATH)
    try:
        assert syscalls.filesystem_magic(fd) == syscalls.PROC_SUPER_MAGIC
    finally:
        os.close(fd)


def test_capget_agrees_with_proc():
    with open("/proc/self/status") as status:
        lines = dict(line.split(":\t", 1) for line in status)
    effective, permitted, inheritable = syscalls.capget()
    assert (effective, permitted, inheritable) == tuple(
        int(lines[name], 16) for name in ("CapEff", "CapPrm", "CapInh")
    )


def test_capset_sets_each_half_of_each_set():
    script = (
        "from lazybuild.linux import syscalls as s\n"
        "e, p, i = s.capget()\n"
        "keep = p & (1 << 5 | 1 << 38)\n"
        "s.capset(effective=keep & 0xffff, permitted=keep, inheritable=0)\n"
        "assert s.capget() == (keep & 0xffff, keep, 0), s.capget()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=os.getcwd())


def test_close_range_closes_all_above():
    script = (
        "import os\n"
        "from lazybuild.linux.syscalls import close_range\n"
        "kept, lost = os.dup(0), os.dup2(0, 77)\n"
        "close_range(70)\n"
        "os.fstat(kept)\n"
        "try: os.fstat(lost)\n"
        "except OSError: print('closed')\n"
    )
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert run.stdout == b"closed\n"


def test_inotify_reports_an_open(tmp_path):
    (tmp_path / "file").touch()
    fd = syscalls.inotify_init()
    try:
        watch = syscalls.inotify_add_watch(fd, tmp_path, syscalls.IN_OPEN)
        (tmp_path / "file").read_bytes()
        event = os.read(fd, 4096)
    finally:
        os.close(fd)
    assert int.from_bytes(event[:4], "little") == watch
    assert b"file" in event


def test_docker_default_capabilities_are_the_known_mask():
    assert caps.mask(caps.DOCKER_DEFAULT) == 0xA80425FB
    assert caps.has(0xA80425FB, "SETFCAP")
    assert not caps.has(0xA80425FB, "SYS_ADMIN")
