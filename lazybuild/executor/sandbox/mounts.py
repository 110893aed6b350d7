"""The tree of mounts of a step: /dev, /proc, /sys as Docker lays them out, and what was asked for.

/dev is always a fresh tmpfs with the host's nodes bound into it, whatever the image ships. Devices
work nowhere else: every other mount is nodev, since a real root could make nodes.
"""

import errno
import os
import stat

from lazybuild.executor.sandbox.points import (
    Stub,
    attach,
    attach_at,
    attach_below,
    is_directory,
    mount_over,
    opened,
    own_directory,
    restrict,
    touch,
)
from lazybuild.executor.sandbox.refused import RefusedError
from lazybuild.linux import syscalls
from lazybuild.linux.syscalls import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazybuild.executor.sandbox.wire import WireMount, WireSpec

QUIET = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC

DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "core": "/proc/kcore",
    "ptmx": "pts/ptmx",
}
MASKED_PROC = (
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
)
READONLY_PROC = ("bus", "fs", "irq", "sys", "sysrq-trigger")
MASKED_SYS = ("firmware", "devices/virtual/powercap")
CPUS = "devices/system/cpu"


def build_root(spec: "WireSpec", stubs: list[Stub]) -> None:
    """Everything that can be mounted before the pid namespace has a process."""
    tree = syscalls.open_tree(spec["rootfs"])
    restrict(tree, MOUNT_ATTR_NODEV)
    files = _contents(spec)
    attach_at(spec["rootfs"], tree)
    root = os.open(spec["rootfs"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.close(own_directory(root, "/proc", stubs))
    _build_dev(root, spec["shm_size"], stubs)
    _build_sys(root, stubs, fresh=spec["network"] == "none")
    for number, mount in enumerate(spec["mounts"]):
        mount_over(root, mount["dest"], _extra_tree(mount, files.get(number, -1)), stubs)
    os.close(root)


def _contents(spec: "WireSpec") -> dict[int, int]:
    """Files that exist only in memory, as detached mounts. They live in a tmpfs below the root."""
    wanted = [(number, it) for number, it in enumerate(spec["mounts"]) if it["kind"] == "file"]
    if not wanted:
        return {}
    attach_at(spec["rootfs"], syscalls.filesystem("tmpfs", (("mode", "700"),), QUIET))
    hidden = os.open(spec["rootfs"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    one_id = spec["one_id"]
    trees = {number: _content(hidden, str(number), it, one_id=one_id) for number, it in wanted}
    os.close(hidden)
    return trees


def _content(hidden: int, name: str, mount: "WireMount", *, one_id: bool) -> int:
    fd = opened(hidden, name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    with open(fd, "wb") as file:
        file.write(mount["data"])
        if not one_id:
            os.fchown(fd, mount["uid"], mount["gid"])
        os.fchmod(fd, mount["mode"])
    return syscalls.open_tree(name, dir_fd=hidden)


def _build_dev(root: int, shm_size: int, stubs: list[Stub]) -> None:
    point = own_directory(root, "/dev", stubs)
    flags = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV
    attach(syscalls.filesystem("tmpfs", (("mode", "755"), ("size", "65536k")), flags), point)
    os.close(point)
    dev = opened(root, "dev")
    for name in DEVICES:
        touch(dev, name)
        attach_below(dev, name, _device(name))
    for name, target in LINKS.items():
        os.symlink(target, name, dir_fd=dev)
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(name, 0o755, dir_fd=dev)
    attach_below(dev, "pts", _devpts())
    shm = (("mode", "1777"), ("size", str(shm_size)))
    attach_below(dev, "shm", syscalls.filesystem("tmpfs", shm, QUIET))
    attach_below(dev, "mqueue", syscalls.filesystem("mqueue", (), QUIET))
    os.close(dev)


def _device(name: str) -> int:
    node = syscalls.open_tree("/dev/" + name)
    found = os.fstat(node)
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != os.makedev(*DEVICES[name]):
        raise RefusedError("host", f"/dev/{name} of this host is not the device it should be")
    return node


def _devpts() -> int:
    options = (("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"))
    flags = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC
    try:
        return syscalls.filesystem("devpts", (*options, ("gid", "5")), flags)
    except OSError as failure:
        if failure.errno != errno.EINVAL:  # group 5 (tty) is not mapped here
            raise
        return syscalls.filesystem("devpts", options, flags)


def _build_sys(root: int, stubs: list[Stub], *, fresh: bool) -> None:
    """The host's /sys, read-only; with a network of its own a fresh one, which shows only that."""
    tree = _sysfs() if fresh else syscalls.open_tree("/sys", recursive=True)
    restrict(tree, QUIET | MOUNT_ATTR_RDONLY)
    point = own_directory(root, "/sys", stubs)
    attach(tree, point)
    os.close(point)
    sys_fd = opened(root, "sys")
    for path in (*MASKED_SYS, *_throttles(sys_fd)):
        _mask(sys_fd, path)
    os.close(sys_fd)


def _sysfs() -> int:
    try:
        return syscalls.filesystem("sysfs", (), QUIET)
    except PermissionError:  # a container around us hides parts of it
        return syscalls.open_tree("/sys", recursive=True)


def _throttles(sys_fd: int) -> list[str]:
    try:
        cpus = opened(sys_fd, CPUS, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return []
    names = [name for name in os.listdir(cpus) if name.startswith("cpu") and name[3:].isdigit()]
    os.close(cpus)
    return [f"{CPUS}/{name}/thermal_throttle" for name in names]


def _mask(parent: int, path: str) -> None:
    try:
        target = opened(parent, path)
    except FileNotFoundError:
        return
    if is_directory(target):
        flags = QUIET | MOUNT_ATTR_RDONLY
        attach(syscalls.filesystem("tmpfs", (("mode", "755"),), flags), target)
    else:
        attach(_device("null"), target)
    os.close(target)


def _extra_tree(mount: "WireMount", content: int) -> int:
    if mount["kind"] == "tmpfs":
        size = (("size", str(mount["size"])),) if mount["size"] else ()
        return syscalls.filesystem("tmpfs", (("mode", "1777"), *size), QUIET)
    tree = content if mount["kind"] == "file" else _bind_source(mount)
    restrict(tree, MOUNT_ATTR_NODEV | (MOUNT_ATTR_RDONLY if mount["readonly"] else 0))
    return tree


def _bind_source(mount: "WireMount") -> int:
    """The selector is a path inside the source, whatever links lie on the way."""
    source = os.open(mount["source"], os.O_PATH | os.O_CLOEXEC)
    if mount["selector"]:
        inside = syscalls.open_in_root(source, mount["selector"])
        os.close(source)
        source = inside
    tree = syscalls.open_tree("", dir_fd=source, recursive=True)
    os.close(source)
    return tree


def build_proc(*, own: bool) -> None:
    """Mount /proc below the working directory, which becomes the root: that of this pid namespace,
    else the one around us with all that is laid over it.
    """
    here = os.open(".", os.O_PATH | os.O_CLOEXEC)
    try:
        tree = _fresh_proc() if own else syscalls.open_tree("/proc", recursive=True)
        attach_below(here, "proc", tree)
    except OSError as failure:
        raise RefusedError("host", f"cannot mount /proc: {failure.strerror}") from failure
    proc = opened(here, "proc")
    if syscalls.filesystem_magic(proc) != syscalls.PROC_SUPER_MAGIC:
        raise RefusedError("host", "the mounted /proc is something else")
    for name in MASKED_PROC:
        _mask(proc, name)
    for name in READONLY_PROC:
        _make_readonly(proc, name)
    os.close(proc)
    os.close(here)


def _fresh_proc() -> int:
    return syscalls.filesystem("proc", (), QUIET)


def _make_readonly(parent: int, name: str) -> None:
    try:
        target = opened(parent, name)
    except FileNotFoundError:
        return
    tree = syscalls.open_tree("", dir_fd=target, recursive=True)
    restrict(tree, MOUNT_ATTR_RDONLY)
    attach(tree, target)
    os.close(target)
