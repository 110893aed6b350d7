"""Calls of a step that wait for an answer (seccomp user notification), and what they are about.

Everything read from the step is hostile: paths are opened as the step would open them, inside the
root that it has, never through links of /proc; nothing is done unless the call still waits.
Source: seccomp_unotify(2).
"""

import errno
import fcntl
import os
import select
import struct

from lazybuild.linux import answers, syscalls

RECEIVE, SEND, IS_VALID, SET_FLAGS = 0xC0502100, 0xC0182101, 0x40082102, 0x40082104
SYNC_WAKE_UP = 1  # asker and answerer take turns on one processor
GO_ON, DONE = (1, 0), (0, 0)  # flags (SECCOMP_USER_NOTIF_FLAG_CONTINUE) and value of an answer
REQUEST, ANSWER = "=QIIiIQ6Q", "=QqiI"
REQUEST_SIZE, PAGE = 80, 4096
MAX_PATH = 4096
AT_FDCWD = -100
UNCHANGED, SHORT_UNCHANGED = 0xFFFFFFFF, 0xFFFF
NO_MAGIC = syscalls.RESOLVE_NO_MAGICLINKS
IN_ROOT = NO_MAGIC | syscalls.RESOLVE_IN_ROOT


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


class Answerer:
    """Answers the calls of one step, as `_do` says: (flags, value), or an OSError."""

    def __init__(self, listener: int, proc: int, names: "dict[tuple[int, int], str]") -> None:
        self._listener, self._proc, self._names = listener, proc, names
        self._joined = False

    def serve(self) -> None:
        """Until no process of the step is left."""
        self._hurry()
        waiting = select.poll()
        waiting.register(self._listener, select.POLLIN)
        while not any(event & select.POLLHUP for _, event in waiting.poll()):
            self._next()

    def _do(self, call: Call) -> "tuple[int, int]":
        raise OSError(errno.ENOSYS, f"{os.strerror(errno.ENOSYS)} ({call.name})")

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
            if not self._joined:
                self._join(call.pid)
            (flags, value), number = self._do(call), 0
        except OSError as failure:
            flags, value, number = 0, 0, -(failure.errno or errno.EIO)
        self._send(struct.pack(ANSWER, call.id, value, number, flags))

    def _send(self, answer: bytes) -> None:
        try:
            fcntl.ioctl(self._listener, SEND, answer)
        except FileNotFoundError:
            return

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

    def _give(self, call: Call, address: int, data: bytes) -> None:
        self._still_waits(call)
        answers.write_memory(call.pid, address, data)

    def _place(self, call: Call, at: int, path: bytes) -> "tuple[int, bytes]":
        """The directory that a path of the caller's names something in, open, and that name."""
        above, slash, name = path.rstrip(b"/").rpartition(b"/")
        start = above or slash or b"."
        return self._opened(call, at, start, os.O_PATH | os.O_DIRECTORY), name

    def _readable(self, target: int) -> int:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(f"self/fd/{target}", flags, dir_fd=self._proc)

    def _umask(self, call: Call) -> int:
        status = os.open(f"{call.pid}/status", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        with open(status, "rb") as file:
            text = file.read()
        return int(text.partition(b"Umask:")[2].split()[0], 8)
