"""Process C: from the init process's child to the command. Gives up, in order, what it must.

The filter is installed while there are still privileges, because `no_new_privs` stays off: setuid
programs and file capabilities work in a step as they do under Docker.
"""

import _signal  # type: ignore[import-not-found]  # `signal` costs 4 ms; has no stub
import errno
import os
import struct

from lazybuild.executor.sandbox.points import walk
from lazybuild.executor.sandbox.refused import RefusedError, describe
from lazybuild.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Never

    from lazybuild.executor.sandbox.wire import WireSpec

TIOCSCTTY = 0x540E
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def become_command(spec: "WireSpec") -> "Never":
    os.setsid()
    if spec["terminal"]:
        _take_terminal()
    _enter_directory(spec["cwd"])
    keep_only(spec["status"], *([spec["listener"]] if spec["fakes"] else []))
    _reset_signals()
    _set_limits(spec["rlimits"])
    _give_up_privileges(spec)
    os.umask(0o022)
    word, reason = _execute(spec["argv"], spec["env"])
    raise RefusedError(word, reason)


def _take_terminal() -> None:
    """Make standard input the controlling terminal, so that ^C and job control work."""
    import fcntl  # noqa: PLC0415 - loaded before the image was in reach

    fcntl.ioctl(0, TIOCSCTTY, 0)


def keep_only(*kept: int) -> None:
    """Close every descriptor above the standard three but these."""
    first = 3
    for fd in sorted(kept):
        if fd > first:
            syscalls.close_range(first, fd - 1)
        first = fd + 1
    syscalls.close_range(first)


def _enter_directory(path: str) -> None:
    """Go to the working directory, making it when it is missing; it must lie inside the root."""
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        os.fchdir(_directory(root, path))
        inside = os.getcwd().startswith("/")
    except OSError as failure:
        raise RefusedError("build", f"working directory {path}: {failure.strerror}") from failure
    if not inside:
        raise RefusedError("build", f"working directory {path} lies outside the root directory")


def _directory(root: int, path: str) -> int:
    try:
        return syscalls.open_in_root(root, path, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        return walk(root, path, [], directory=True)


_KEPT_BY_LIBC = (32, 33)  # a parent may have ignored them, and glibc hides them from Python


def _reset_signals() -> None:
    """Handlers and ignored signals come from Python and from whoever started the builder."""
    for number in _signal.valid_signals():
        if number not in (_signal.SIGKILL, _signal.SIGSTOP):
            _signal.signal(number, _signal.SIG_DFL)
    for number in _KEPT_BY_LIBC:
        syscalls.default_signal(number)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])


def _set_limits(limits: list[tuple[int, int, int]]) -> None:
    if not limits:
        return
    import resource  # noqa: PLC0415 - loaded before the image was in reach

    for number, soft, hard in limits:
        try:
            resource.setrlimit(number, (soft, hard))
        except (OSError, ValueError) as failure:
            raise RefusedError(
                "build", f"cannot set ulimit to {soft}:{hard}: {failure}"
            ) from failure


def _give_up_privileges(spec: "WireSpec") -> None:
    if spec["one_id"] and spec["uid"]:
        _take_the_id(spec["uid"], spec["gid"])
    syscalls.drop_bounding(spec["capabilities"])
    syscalls.clear_ambient()
    _hand_over_output(spec["uid"])
    if spec["chroot"]:
        _confine_in_chroot(spec["uid"], spec["seccomp"])
    else:
        if not spec["own_pids"]:
            syscalls.confine_signals()
        syscalls.install_seccomp(spec["seccomp"])
    if spec["fakes"]:
        _hand_over_listener(spec)
    if not spec["one_id"]:
        _become_user(spec)
    kept = 0 if spec["uid"] else spec["capabilities"]
    syscalls.capset(effective=kept, permitted=kept, inheritable=0)


def _confine_in_chroot(uid: int, seccomp: bytes) -> None:
    """There `no_new_privs` is the price of a filter: root, who is the one that could reach what is
    around the chroot, loses nothing by it; other users keep their setuid programs.
    """
    if uid:
        return
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.confine_signals()
    syscalls.install_seccomp(seccomp)


def _take_the_id(uid: int, gid: int) -> None:
    """In a user namespace of its own the only id there is can have any number."""
    there = os.getuid(), os.getgid()
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {there[0]} 1"),
        ("gid_map", f"{gid} {there[1]} 1"),
    ):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(fd, text.encode())
        os.close(fd)


def _hand_over_listener(spec: "WireSpec") -> None:
    import _socket  # noqa: PLC0415 - loaded before the image was in reach

    from lazybuild.linux import answers  # noqa: PLC0415 - packed if it is wanted

    door = _socket.socket(fileno=spec["listener"])
    listener = answers.seccomp_listener(spec["fakes"])
    sent = struct.pack("=i", listener)
    door.sendmsg([b"l"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, sent)])
    os.close(listener)
    door.close()


def _become_user(spec: "WireSpec") -> None:
    try:
        os.setgroups(spec["groups"])
        os.setresgid(spec["gid"], spec["gid"], spec["gid"])
        os.setresuid(spec["uid"], spec["uid"], spec["uid"])
    except OSError as failure:
        ids = f"{spec['uid']}:{spec['gid']}"
        raise RefusedError("build", f"cannot become user {ids}: {failure.strerror}") from failure


def _hand_over_output(uid: int) -> None:
    """Let the step's user open /dev/stdout, which is a pipe of the builder's."""
    for fd in (1, 2):
        try:
            os.fchown(fd, uid, -1)
        except OSError as failure:
            if failure.errno not in (errno.EPERM, errno.EINVAL):  # ids that are not mapped
                raise


def _execute(argv: list[str], env: dict[str, str]) -> tuple[str, str]:
    """Become the command, looked up in its own PATH; returns only when that can't be."""
    name = argv[0]
    places = env.get("PATH", DEFAULT_PATH).split(":")
    paths = [name] if "/" in name else [f"{place or '.'}/{name}" for place in places]
    denied = ""
    for path in paths:
        try:
            os.execve(path, argv, env)  # noqa: S606 - the step itself
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as failure:
            denied = describe(failure)
        except OSError as failure:
            return "126", f"cannot run {name}: {describe(failure)}"
    if denied:
        return "126", f"cannot run {name}: {denied}"
    return "127", f"cannot run {name}: no such program" + ("" if "/" in name else " in PATH")
