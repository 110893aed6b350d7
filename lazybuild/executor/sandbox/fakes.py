"""Plays the kernel for a step of a builder with a single id: chown, stat and mknod of devices.

The step's calls wait (seccomp user notification) while this process, which stays outside of the
step's pid namespace and joins its mount namespace, notes the wanted owner on the file, tells the
one that was noted, or makes an empty file with a note of the device. The notes are read by
lazybuild.snapshots.recorded. Changes of user are answered by the filter alone: they succeed and
change nothing.

Everything read from the step is hostile: paths are opened as the step would open them, inside the
root that it has, never through links of /proc; nothing is done unless the call still waits.
Source: seccomp_unotify(2).
"""

import errno
import fcntl
import os
import stat
import struct

from lazybuild.linux import answers, ownernotes, syscalls
from lazybuild.linux.ownernotes import LINKS, OWNER

DEVICE = "user.lazybuild.device"

RECEIVE, SEND, IS_VALID, SET_FLAGS = 0xC0502100, 0xC0182101, 0x40082102, 0x40082104
SYNC_WAKE_UP = 1  # asker and answerer take turns on one processor
GO_ON = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
REQUEST, ANSWER = "=QIIiIQ6Q", "=QqiI"
REQUEST_SIZE, PAGE = 80, 4096
MAX_PATH = 4096
AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH = 0x100, 0x1000
UNCHANGED, SHORT_UNCHANGED = 0xFFFFFFFF, 0xFFFF
KEPT_AS_THEY_ARE = (errno.EOPNOTSUPP, errno.ENOSYS)  # places that are no part of the image
NO_MAGIC = syscalls.RESOLVE_NO_MAGICLINKS
ANSWERS = {"stat": 1, "lstat": 1, "fstat": 1, "newfstatat": 2, "statx": 4}  # which argument
IN_ROOT = NO_MAGIC | syscalls.RESOLVE_IN_ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Never


class Call:
    """One call that waits."""

    def __init__(self, data: bytes, names: "dict[tuple[int, int], str]") -> None:
        self.id, self.pid, _, number, arch, _, *found = struct.unpack(REQUEST, data)
        self.args: list[int] = found
        self.name = names.get((arch, number), "")

    def number(self, index: int) -> int:
        """An argument as the signed int that the kernel takes it for."""
        value = self.args[index] & 0xFFFFFFFF
        return value - (1 << 32) if value >> 31 else value

    def id_of(self, index: int) -> int:
        """A user or group; the 16-bit calls of i386 have a -1 of their own."""
        value = self.args[index] & 0xFFFFFFFF
        return UNCHANGED if self.name.endswith("16") and value == SHORT_UNCHANGED else value


class ElsewhereError(Exception):
    """What the path leads to is no file of the image: /dev/stdout, say."""


class Fakes:
    """Serves one step. `default` is the group of what has no note: the step's own."""

    def __init__(
        self, listener: int, proc: int, names: "dict[tuple[int, int], str]", gid: int
    ) -> None:
        self._listener, self._proc, self._names = listener, proc, names
        self._default = 0, gid
        self._joined = False

    def serve(self) -> "Never":
        """Until the process that started this one ends it."""
        self._hurry()
        while True:
            self._next()

    def _hurry(self) -> None:
        try:
            fcntl.ioctl(self._listener, SET_FLAGS, SYNC_WAKE_UP)
        except OSError:  # older than Linux 6.6
            return

    def _next(self) -> None:
        try:
            data = fcntl.ioctl(self._listener, RECEIVE, bytes(REQUEST_SIZE))
        except OSError as failure:
            if failure.errno not in (errno.ENOENT, errno.EINTR):  # the caller was killed
                raise
            return
        call = Call(data, self._names)
        try:
            flags, number = self._do(call), 0
        except OSError as failure:
            flags, number = 0, -(failure.errno or errno.EIO)
        self._send(struct.pack(ANSWER, call.id, 0, number, flags))

    def _send(self, answer: bytes) -> None:
        try:
            fcntl.ioctl(self._listener, SEND, answer)
        except FileNotFoundError:
            return

    def _do(self, call: Call) -> int:
        if not self._joined:
            self._join(call.pid)
        if "stat" in call.name:
            return self._stat(call)
        if call.name.startswith("mknod"):
            return self._mknod(call)
        self._chown(call)
        return 0

    def _join(self, pid: int) -> None:
        """Take the step's mounts and root for ours: a path means the same then."""
        there = os.open(f"{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        syscalls.setns(there, syscalls.CLONE_NEWNS)
        os.close(there)
        os.fchdir(self._proc)  # for paths that begin with a pid
        self._joined = True

    # what is meant

    def _still_waits(self, call: Call) -> None:
        """The pid is the caller's only as long as the call waits. Raises ENOENT."""
        fcntl.ioctl(self._listener, IS_VALID, struct.pack("=Q", call.id))

    def _text(self, call: Call, address: int) -> bytes:
        found = b""
        while b"\0" not in found and len(found) < MAX_PATH:
            at = address + len(found)
            found += answers.read_memory(call.pid, at, PAGE - at % PAGE)
        text = found.partition(b"\0")[0]
        if len(text) >= MAX_PATH:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        return text

    def _directory(self, call: Call, fd: int) -> int:
        """Where a relative path of the caller begins."""
        name = f"{call.pid}/cwd" if fd == AT_FDCWD else f"{call.pid}/fd/{fd}"
        try:
            found = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=self._proc)
        except FileNotFoundError:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None
        self._still_waits(call)
        return found

    def _opened(self, call: Call, fd: int, path: bytes, flags: int) -> int:
        """A path of the caller's, as it sees the file system."""
        if not path:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        root = os.open(f"{call.pid}/root", os.O_PATH | os.O_CLOEXEC, dir_fd=self._proc)
        try:
            self._still_waits(call)
            moved = not os.path.samestat(os.fstat(root), os.stat("/"))
            if path.startswith(b"/"):
                return syscalls.openat2(root, path, flags, resolve=IN_ROOT)
            start = self._directory(call, fd)
            try:
                resolve = NO_MAGIC | (syscalls.RESOLVE_BENEATH if moved else 0)
                return syscalls.openat2(start, path, flags, resolve=resolve)
            finally:
                os.close(start)
        finally:
            os.close(root)

    # stat

    def _stat(self, call: Call) -> int:
        """The kernel does it, save for files whose owner is noted. Changes nothing, so links of
        /proc may be followed.
        """
        path, flags = self._asked_of(call)
        if not path:
            return GO_ON
        follow = not flags & AT_SYMLINK_NOFOLLOW
        try:
            owner = ownernotes.parse(os.getxattr(path, OWNER, follow_symlinks=follow))
        except OSError:  # no note, no such file, no file of the image
            return GO_ON
        if owner is None or owner == ownernotes.ROOT:
            return GO_ON
        if call.name == "statx":
            found = answers.statx_as_owned(path, flags, call.args[3], owner)
        else:
            found = answers.stat_as_owned(path, flags, owner)
        self._give(call, call.args[ANSWERS[call.name]], found)
        return 0

    def _asked_of(self, call: Call) -> "tuple[bytes, int]":
        """A path from /proc, where we are, and the flags; empty for what is none of the image."""
        if call.name == "fstat":
            return b"%d/fd/%d" % (call.pid, call.number(0)), 0
        if call.name in ("stat", "lstat"):
            at, place, flags = AT_FDCWD, 0, AT_SYMLINK_NOFOLLOW if call.name == "lstat" else 0
        else:
            at, place = call.number(0), 1
            flags = call.args[2 if call.name == "statx" else 3] & 0xFFFFFFFF
        path = self._text(call, call.args[place])
        if path.startswith((b"/proc/", b"/dev/", b"/sys/")):
            return b"", 0
        if path.startswith(b"/"):
            return b"%d/root%s" % (call.pid, path), flags & AT_SYMLINK_NOFOLLOW
        start = b"%d/cwd" % call.pid if at == AT_FDCWD else b"%d/fd/%d" % (call.pid, at)
        if path:
            return start + b"/" + path, flags & AT_SYMLINK_NOFOLLOW
        return (start if flags & AT_EMPTY_PATH else b""), 0

    def _give(self, call: Call, address: int, data: bytes) -> None:
        self._still_waits(call)
        answers.write_memory(call.pid, address, data)

    # chown

    def _chown(self, call: Call) -> None:
        try:
            target, at, path = self._target(call)
        except ElsewhereError:
            return
        first = {"fchown": 1, "fchownat": 2}.get(call.name.removesuffix("16").removesuffix("32"), 1)
        uid, gid = call.id_of(first), call.id_of(first + 1)
        try:
            mode = os.fstat(target).st_mode
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                self._note(target, uid, gid)
            elif path and (stat.S_ISLNK(mode) or stat.S_ISFIFO(mode)):
                self._note_beside(call, at, path, uid, gid)
        finally:
            os.close(target)

    def _target(self, call: Call) -> "tuple[int, int, bytes]":
        """(the file, the directory that its path begins in, the path)."""
        name = call.name.removesuffix("16").removesuffix("32")
        if name == "fchown":
            return self._directory(call, call.number(0)), AT_FDCWD, b""
        at, place = (call.number(0), 1) if name == "fchownat" else (AT_FDCWD, 0)
        flags = call.args[4] if name == "fchownat" else 0
        path = self._text(call, call.args[place])
        self._still_waits(call)
        if not path and flags & AT_EMPTY_PATH:
            return self._directory(call, at), at, b""
        if path.startswith((b"/proc/", b"/dev/")):
            raise ElsewhereError
        follow = not flags & AT_SYMLINK_NOFOLLOW and name != "lchown"
        found = self._opened(call, at, path, os.O_PATH | (0 if follow else os.O_NOFOLLOW))
        return found, at, path

    def _note(self, target: int, uid: int, gid: int) -> None:
        """Write down who should own it. A real chown to ourselves does all else that chown does."""
        file = self._readable(target)
        try:
            before = ownernotes.parse(_value(file, OWNER)) or self._default
            os.chown(file, 0, 0)
            _write(file, OWNER, ownernotes.encode(_changed(before, uid, gid)))
        finally:
            os.close(file)

    def _note_beside(self, call: Call, at: int, path: bytes, uid: int, gid: int) -> None:
        """A link or pipe can't carry a note: its directory names it."""
        above, _, name = path.rstrip(b"/").rpartition(b"/")
        start = above or (b"/" if path.startswith(b"/") else b".")
        directory = self._opened(call, at, start, os.O_PATH | os.O_DIRECTORY)
        try:
            file = self._readable(directory)
        finally:
            os.close(directory)
        links = ownernotes.parse_links(_value(file, LINKS))
        links[name] = _changed(links.get(name, self._default), uid, gid)
        _write(file, LINKS, ownernotes.encode_links(links))
        os.close(file)

    def _readable(self, target: int) -> int:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(f"self/fd/{target}", flags, dir_fd=self._proc)

    # mknod

    def _mknod(self, call: Call) -> int:
        at, place = (call.number(0), 1) if call.name == "mknodat" else (AT_FDCWD, 0)
        mode, device = call.args[place + 1] & 0xFFFFFFFF, call.args[place + 2] & 0xFFFFFFFF
        if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) or not device:
            return GO_ON
        path = self._text(call, call.args[place])
        self._still_waits(call)
        above, _, name = path.rpartition(b"/")
        start = above or (b"/" if path.startswith(b"/") else b".")
        directory = self._opened(call, at, start, os.O_PATH | os.O_DIRECTORY)
        try:
            self._make_device(call, directory, name, mode, device)
        finally:
            os.close(directory)
        return 0

    def _make_device(self, call: Call, directory: int, name: bytes, mode: int, device: int) -> None:
        letter = "c" if stat.S_ISCHR(mode) else "b"
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        bits = stat.S_IMODE(mode) & ~self._umask(call)
        file = os.open(name, flags, bits, dir_fd=directory)
        try:
            note = f"{letter} {os.major(device)}:{os.minor(device)}"
            os.setxattr(file, DEVICE, note.encode())
        finally:
            os.close(file)

    def _umask(self, call: Call) -> int:
        status = os.open(f"{call.pid}/status", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        with open(status, "rb") as file:
            text = file.read()
        return int(text.partition(b"Umask:")[2].split()[0], 8)


def _changed(before: ownernotes.Owner, uid: int, gid: int) -> ownernotes.Owner:
    return before[0] if uid == UNCHANGED else uid, before[1] if gid == UNCHANGED else gid


def _value(file: int, key: str) -> bytes | None:
    try:
        return os.getxattr(file, key)
    except OSError:  # none, or a place that can't have any
        return None


def _write(file: int, key: str, value: bytes) -> None:
    try:
        os.setxattr(file, key, value)
    except OSError as failure:
        if failure.errno not in KEPT_AS_THEY_ARE:
            raise
