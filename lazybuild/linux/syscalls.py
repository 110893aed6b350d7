"""The door to the kernel: system calls that Python's standard library does not offer.

Owns ctypes. Every function raises `OSError` with the call's name and what it was about; none keeps
state. Numbers above 423 are the same on every architecture; all others go through libc's symbol.
Descriptors returned are close-on-exec. Knows no other module of lazybuild, and imports little:
the sandbox of each step loads it into a bare interpreter, where `typing` alone would cost 5 ms.

ctypes releases the GIL around each call, so a blocking call (a mount over a slow file system)
stops only its own thread.
"""

import ctypes
import errno
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

MNT_DETACH = 2

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
SECCOMP_MODE_FILTER = 2
PR_SET_NO_NEW_PRIVS = 38
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

IN_OPEN = 0x20
IN_CREATE = 0x100
IN_MOVED_TO = 0x80
IN_Q_OVERFLOW = 0x4000
IN_ONLYDIR = 0x01000000
IN_ISDIR = 0x40000000

OVERLAYFS_SUPER_MAGIC = 0x794C7630
PROC_SUPER_MAGIC = 0x9FA0

_NR_OPEN_TREE = 428
_NR_MOVE_MOUNT = 429
_NR_FSOPEN = 430
_NR_FSCONFIG = 431
_NR_FSMOUNT = 432
_NR_CLOSE_RANGE = 436
_NR_OPENAT2 = 437
_NR_MOUNT_SETATTR = 442
_NR_LANDLOCK_CREATE = 444
_NR_LANDLOCK_RESTRICT = 446

_LANDLOCK_SCOPE_SIGNAL = 2
_NO_LANDLOCK = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.E2BIG)

_NR_RT_SIGACTION = {"x86_64": 13}.get(os.uname().machine, 134)
_SIGNAL_SET = 8  # bytes of the kernel's sigset_t

_RACES = 64
_CAPABILITY_VERSION_3 = 0x20080522

StrPath = str | bytes | os.PathLike[str]


def _bytes(path: StrPath) -> bytes:
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded


def _optional(path: StrPath | None) -> bytes | None:
    return None if path is None else _bytes(path)


def _fail(call: str, about: object = "") -> OSError:
    number = ctypes.get_errno()
    text = about.decode(errors="backslashreplace") if isinstance(about, bytes) else str(about)
    detail = f"{call} {text}".strip()
    return OSError(number, f"{os.strerror(number)} ({detail})")


def _as_argument(value: int | bytes | None) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else ctypes.c_char_p(value)


def _call(name: str, *args: int | bytes | None, about: object = "") -> int:
    """Call a function of libc that returns -1 and sets errno."""
    result = getattr(_libc, name)(*map(_as_argument, args))
    if result < 0:
        raise _fail(name, about)
    return int(result)


def _syscall(number: int, name: str, *args: int | bytes | None, about: object = "") -> int:
    result = _libc.syscall(ctypes.c_long(number), *map(_as_argument, args))
    if result < 0:
        raise _fail(name, about)
    return int(result)


# --- mounts, the old way -------------------------------------------------------------------------


def mount(
    source: StrPath, target: StrPath, fstype: str = "", flags: int = 0, data: StrPath | None = None
) -> None:
    kind = os.fsencode(fstype) if fstype else None
    _call("mount", _bytes(source), _bytes(target), kind, flags, _optional(data), about=target)


def umount(target: StrPath, flags: int = 0) -> None:
    _call("umount2", _bytes(target), flags, about=target)


def make_private(target: StrPath = "/") -> None:
    """Cut propagation in both directions, for `target` and everything below."""
    mount("none", target, flags=MS_REC | MS_PRIVATE)


def pivot_root(new_root: StrPath, put_old: StrPath) -> None:
    _call("pivot_root", _bytes(new_root), _bytes(put_old), about=new_root)


# --- mounts, by descriptor -----------------------------------------------------------------------


def fsopen(fstype: str) -> int:
    return _syscall(_NR_FSOPEN, "fsopen", os.fsencode(fstype), FSOPEN_CLOEXEC, about=fstype)


def _fsconfig(fd: int, command: int, key: str | None, value: bytes | None, about: str) -> None:
    name = None if key is None else os.fsencode(key)
    _syscall(_NR_FSCONFIG, "fsconfig", fd, command, name, value, 0, about=about)


def fsconfig_string(fd: int, key: str, value: StrPath) -> None:
    """Set an option; overlay's `lowerdir+` (6.5) may be set again and again."""
    _fsconfig(fd, FSCONFIG_SET_STRING, key, _bytes(value), f"{key}={os.fsdecode(value)}")


def fsconfig_flag(fd: int, key: str) -> None:
    _fsconfig(fd, FSCONFIG_SET_FLAG, key, None, key)


def fsconfig_create(fd: int) -> None:
    _fsconfig(fd, FSCONFIG_CMD_CREATE, None, None, "create")


def fsmount(fd: int, attributes: int = 0) -> int:
    return _syscall(_NR_FSMOUNT, "fsmount", fd, FSMOUNT_CLOEXEC, attributes)


def filesystem(
    fstype: str, options: tuple[tuple[str, StrPath], ...] = (), attributes: int = 0
) -> int:
    """A new file system that is not attached anywhere yet; an empty value makes a flag."""
    fd = fsopen(fstype)
    try:
        for key, value in options:
            if value:
                fsconfig_string(fd, key, value)
            else:
                fsconfig_flag(fd, key)
        fsconfig_create(fd)
        return fsmount(fd, attributes)
    finally:
        os.close(fd)


def open_tree(path: StrPath, *, dir_fd: int = AT_FDCWD, recursive: bool = False) -> int:
    """A detached copy of the mount at `path` (of the descriptor itself when empty)."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
    flags |= AT_RECURSIVE if recursive else 0
    flags |= 0 if path else AT_EMPTY_PATH
    return _syscall(_NR_OPEN_TREE, "open_tree", dir_fd, _bytes(path), flags, about=path)


def move_mount(fd: int, target: StrPath = "", *, dir_fd: int = AT_FDCWD) -> None:
    """Attach the detached mount `fd` at `target` below `dir_fd` (at `dir_fd` itself when empty)."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if target else MOVE_MOUNT_T_EMPTY_PATH)
    _syscall(_NR_MOVE_MOUNT, "move_mount", fd, b"", dir_fd, _bytes(target), flags, about=target)


def attach_filesystem(
    fstype: str,
    target: StrPath,
    options: tuple[tuple[str, StrPath], ...] = (),
    attributes: int = 0,
) -> None:
    """Mount a new file system at `target`."""
    fd = filesystem(fstype, options, attributes)
    try:
        move_mount(fd, target)
    finally:
        os.close(fd)


def mount_setattr(
    path: StrPath = "",
    *,
    dir_fd: int = AT_FDCWD,
    add: int = 0,
    clear: int = 0,
    propagation: int = 0,
    recursive: bool = False,
) -> None:
    """Change attributes of a mount. Only what is named changes: locked flags stay as they are."""
    flags = (0 if path else AT_EMPTY_PATH) | (AT_RECURSIVE if recursive else 0)
    attributes = struct.pack("=QQQQ", add, clear, propagation, 0)
    _syscall(
        _NR_MOUNT_SETATTR,
        "mount_setattr",
        dir_fd,
        _bytes(path),
        flags,
        attributes,
        len(attributes),
        about=path,
    )


# --- files ---------------------------------------------------------------------------------------


def openat2(
    dir_fd: int, path: StrPath, flags: int = os.O_PATH, *, mode: int = 0, resolve: int = 0
) -> int:
    """Open below `dir_fd` under the rules of `resolve` (RESOLVE_IN_ROOT, ...)."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    return _syscall(_NR_OPENAT2, "openat2", dir_fd, _bytes(path), how, len(how), about=path)


def open_in_root(root_fd: int, path: StrPath, flags: int = os.O_PATH) -> int:
    """Open `path` as a process chrooted to `root_fd` would, never through a /proc link.

    A rename anywhere while the kernel resolves `..` makes it give up with EAGAIN, so try again.
    """
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
    for _ in range(_RACES - 1):
        try:
            return openat2(root_fd, path, flags, resolve=resolve)
        except BlockingIOError:
            continue
    return openat2(root_fd, path, flags, resolve=resolve)


def filesystem_magic(fd: int) -> int:
    """The type of the file system that `fd` lies on (statfs f_type)."""
    buffer = ctypes.create_string_buffer(256)
    if _libc.fstatfs(fd, buffer) < 0:
        raise _fail("fstatfs", fd)
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], "little")


def close_range(first: int, last: int = 0xFFFFFFFF) -> None:
    _syscall(_NR_CLOSE_RANGE, "close_range", first, last, 0)


# --- processes and namespaces --------------------------------------------------------------------


def unshare(flags: int) -> None:
    _call("unshare", flags, about=hex(flags))


def setns(fd: int, flags: int = 0) -> None:
    _call("setns", fd, flags)


def default_signal(number: int) -> None:
    """Give a signal its default action, also one that the C library keeps for itself (32, 33).

    A zeroed struct kernel_sigaction is SIG_DFL with no flags and an empty mask.
    """
    action = ctypes.create_string_buffer(64)
    result = _libc.syscall(
        ctypes.c_long(_NR_RT_SIGACTION), ctypes.c_long(number), action, None, _SIGNAL_SET
    )
    if result < 0:
        raise _fail("rt_sigaction", number)


def sethostname(name: str) -> None:
    encoded = os.fsencode(name)
    _call("sethostname", encoded, len(encoded), about=name)


def prctl(option: int, arg2: int = 0, arg3: int = 0) -> int:
    return _call("prctl", option, arg2, arg3, 0, 0, about=option)


def die_with_parent(signal: int = 9) -> None:
    """Have the kernel send `signal` to this process when the thread that started it ends."""
    prctl(PR_SET_PDEATHSIG, signal)


def drop_bounding(kept: int) -> None:
    """Take every capability that is not in the mask `kept` from the bounding set."""
    for number in range(64):
        if not kept >> number & 1 and _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) < 0:
            if ctypes.get_errno() == errno.EINVAL:  # beyond the last capability of this kernel
                return
            raise _fail("prctl", f"PR_CAPBSET_DROP {number}")


def clear_ambient() -> None:
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)


def install_seccomp(program: bytes) -> None:
    """Install a BPF program (struct sock_filter[]); needs CAP_SYS_ADMIN, as privileges may grow."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("=H6xQ", len(program) // 8, ctypes.addressof(buffer))
    _call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0, about="PR_SET_SECCOMP")


def confine_signals() -> bool:
    """Let this process and its descendants signal, and trace, one another only, by Landlock.

    Needs CAP_SYS_ADMIN or no_new_privs, and Linux 6.12; False on an older kernel.
    """
    attributes = struct.pack("=QQQ", 0, 0, _LANDLOCK_SCOPE_SIGNAL)
    try:
        ruleset = _syscall(_NR_LANDLOCK_CREATE, "landlock", attributes, len(attributes), 0)
    except OSError as error:
        if error.errno in _NO_LANDLOCK:
            return False
        raise
    _syscall(_NR_LANDLOCK_RESTRICT, "landlock_restrict_self", ruleset, 0)
    os.close(ruleset)
    return True


def capset(*, effective: int, permitted: int, inheritable: int) -> None:
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    sets = (effective, permitted, inheritable)
    low, high = ([value >> shift & 0xFFFFFFFF for value in sets] for shift in (0, 32))
    data = struct.pack("=6I", *low, *high)
    _call("capset", header, data)


def capget() -> tuple[int, int, int]:
    """(effective, permitted, inheritable) of the calling thread."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), 8)
    data = ctypes.create_string_buffer(24)
    if _libc.capget(header, data) < 0:
        raise _fail("capget")
    low = struct.unpack_from("=III", data, 0)
    high = struct.unpack_from("=III", data, 12)
    effective, permitted, inheritable = (a | b << 32 for a, b in zip(low, high, strict=True))
    return effective, permitted, inheritable


# --- inotify -------------------------------------------------------------------------------------


def inotify_init(flags: int = os.O_CLOEXEC | os.O_NONBLOCK) -> int:
    return _call("inotify_init1", flags)


def inotify_add_watch(fd: int, path: StrPath, mask: int) -> int:
    return _call("inotify_add_watch", fd, _bytes(path), mask, about=path)
