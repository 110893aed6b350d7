"""System calls of a process that answers those of another: seccomp notification, its memory, stat.

Owns ctypes beside `syscalls`, whose ways of calling it shares. Packed for a sandbox only when the
step needs such answers.
"""

import ctypes
import os
import struct

from lazybuild.linux.syscalls import AT_FDCWD, StrPath, _bytes, _call, _fail, _libc, _syscall

_NR_NEWFSTATAT = {"x86_64": 262}.get(os.uname().machine, 79)
_NR_STATX = {"x86_64": 332}.get(os.uname().machine, 291)
_STAT_SIZE, _STAT_OWNER = {"x86_64": (144, 28)}.get(os.uname().machine, (128, 24))
_STATX_SIZE, _STATX_OWNER = 256, 20
_NR_SECCOMP = {"x86_64": 317}.get(os.uname().machine, 277)
_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_NEW_LISTENER = 8


def stat_as_owned(path: StrPath, flags: int, owner: tuple[int, int]) -> bytes:
    """The kernel's struct stat of `path`, with another owner in it."""
    buffer = ctypes.create_string_buffer(_STAT_SIZE)
    arguments = (ctypes.c_long(AT_FDCWD), _bytes(path), buffer, ctypes.c_long(flags))
    if _libc.syscall(ctypes.c_long(_NR_NEWFSTATAT), *arguments) < 0:
        raise _fail("newfstatat", path)
    struct.pack_into("=II", buffer, _STAT_OWNER, *owner)
    return buffer.raw


def statx_as_owned(path: StrPath, flags: int, mask: int, owner: tuple[int, int]) -> bytes:
    """The same for struct statx."""
    buffer = ctypes.create_string_buffer(_STATX_SIZE)
    numbers = (ctypes.c_long(flags), ctypes.c_long(mask))
    arguments = (ctypes.c_long(AT_FDCWD), _bytes(path), *numbers, buffer)
    if _libc.syscall(ctypes.c_long(_NR_STATX), *arguments) < 0:
        raise _fail("statx", path)
    struct.pack_into("=II", buffer, _STATX_OWNER, *owner)
    return buffer.raw


def read_memory(pid: int, address: int, size: int) -> bytes:
    """What another process has there; less where its memory ends, EFAULT for none at all."""
    buffer = ctypes.create_string_buffer(size)
    count = _move_memory("process_vm_readv", pid, address, buffer, size)
    return buffer.raw[:count]


def write_memory(pid: int, address: int, data: bytes) -> None:
    buffer = ctypes.create_string_buffer(data, len(data))
    _move_memory("process_vm_writev", pid, address, buffer, len(data))


def _move_memory(
    call: str, pid: int, address: int, buffer: "ctypes.Array[ctypes.c_char]", size: int
) -> int:
    ours = struct.pack("=QQ", ctypes.addressof(buffer), size)
    theirs = struct.pack("=QQ", address, size)
    return _call(call, pid, ours, 1, theirs, 1, 0, about=pid)


def seccomp_listener(program: bytes) -> int:
    """Install a BPF program whose questions arrive at the descriptor returned."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("=H6xQ", len(program) // 8, ctypes.addressof(buffer))
    flags = _SECCOMP_NEW_LISTENER
    return _syscall(_NR_SECCOMP, "seccomp", _SECCOMP_SET_MODE_FILTER, flags, header)
