"""The messages of the kernel's FUSE protocol that a read-only file system needs. Pure packing.

Owns numbers and byte layouts, all native endian; knows no tree and no descriptor.
Spec: include/uapi/linux/fuse.h, protocol 7.31 and later (Linux 5.4).

    request   len u32, opcode u32, unique u64, nodeid u64, uid, gid, pid u32, extlen u16, pad u16
    reply     len u32, error i32 (negative errno), unique u64
"""

import struct
from enum import IntEnum
from typing import Final

from lazybuild.snapshots.lazyfs.tree import Attributes

MAJOR, MINOR = 7, 31
ROOT_NODE = 1


class Op(IntEnum):
    """Request numbers; those that are not listed are answered with ENOSYS."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    READLINK = 5
    OPEN = 14
    READ = 15
    STATFS = 17
    GETXATTR = 22
    LISTXATTR = 23
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    READDIRPLUS = 44


SILENT: Final = frozenset({Op.FORGET, Op.BATCH_FORGET})

ASYNC_READ = 1 << 0
DO_READDIRPLUS = 1 << 13
READDIRPLUS_AUTO = 1 << 14
NO_OPEN_SUPPORT = 1 << 17
PARALLEL_DIROPS = 1 << 18
MAX_PAGES = 1 << 22
CACHE_SYMLINKS = 1 << 23
NO_OPENDIR_SUPPORT = 1 << 24
WANTED = (
    ASYNC_READ | DO_READDIRPLUS | READDIRPLUS_AUTO | NO_OPEN_SUPPORT | PARALLEL_DIROPS
    | MAX_PAGES | CACHE_SYMLINKS | NO_OPENDIR_SUPPORT
)  # fmt: skip
NEEDED = NO_OPEN_SUPPORT | NO_OPENDIR_SUPPORT

PAGES = 256
MAX_READ = PAGES * 4096
_MAX_WRITE = 4096
BUFFER = 64 << 10
"""Must exceed max_write and a page, or the kernel answers reads of the device with EINVAL."""

_MAX_BACKGROUND, _CONGESTION = 64, 48
_FOREVER = 0x7FFFFFFF
_BLOCK = 4096

REQUEST = struct.Struct("=IIQQIIIHH")
_REPLY = struct.Struct("=IiQ")
_NOTIFY_STORE = 4
_STORE = struct.Struct("=QQII")
_INIT_IN = struct.Struct("=IIII")
_INIT_OUT = struct.Struct("=IIIIHHIIHHIIH22x")
READ_IN = struct.Struct("=QQI")
GETXATTR_IN = struct.Struct("=II")
# ino, size, blocks, atime, mtime, ctime; their nanoseconds; mode, nlink, uid, gid, rdev, blksize, 0
_ATTR = struct.Struct("=QQQQQQIIIIIIIIII")
_ATTR_VALID = struct.Struct("=QII")
# nodeid, generation, entry_valid, attr_valid, entry_valid_nsec, attr_valid_nsec
_ENTRY = struct.Struct("=QQQQII")
_DIRENT = struct.Struct("=QQII")
_STATFS = struct.Struct("=QQQQQIIII24x")
_U32_PAIR = struct.Struct("=II")

_NO_ENTRY = bytes(_ENTRY.size + _ATTR.size)
_NANO = 1_000_000_000


def reply_head(unique: int, length: int) -> bytes:
    return _REPLY.pack(_REPLY.size + length, 0, unique)


def reply_error(unique: int, number: int) -> bytes:
    return _REPLY.pack(_REPLY.size, -number, unique)


def store_head(node: int, offset: int, length: int) -> bytes:
    """What stands before `length` bytes of a file that the page cache shall have unasked."""
    head = _REPLY.pack(_REPLY.size + _STORE.size + length, _NOTIFY_STORE, 0)
    return head + _STORE.pack(node, offset, length, 0)


def agree(body: bytes) -> tuple[int, bytes]:
    """(flags in force, INIT reply) for an INIT request."""
    _, _, readahead, offered = _INIT_IN.unpack_from(body)
    flags = offered & WANTED
    return flags, _INIT_OUT.pack(
        MAJOR, MINOR, max(readahead, MAX_READ), flags, _MAX_BACKGROUND, _CONGESTION,
        _MAX_WRITE, 1, PAGES, 0, 0, 0, 0,
    )  # fmt: skip


def pack_attributes(node: int, a: Attributes) -> bytes:
    seconds, nano = divmod(a.mtime, _NANO)
    seconds &= 0xFFFFFFFFFFFFFFFF
    return _ATTR.pack(
        node, a.size, (a.size + 511) >> 9, seconds, seconds, seconds, nano, nano, nano,
        a.mode, a.nlink, a.uid, a.gid, a.rdev, _BLOCK, 0,
    )  # fmt: skip


def attributes_out(node: int, a: Attributes) -> bytes:
    return _ATTR_VALID.pack(_FOREVER, 0, 0) + pack_attributes(node, a)


def entry_out(node: int, a: Attributes) -> bytes:
    """A name that exists; it and its attributes stay true for ever."""
    return _ENTRY.pack(node, 0, _FOREVER, _FOREVER, 0, 0) + pack_attributes(node, a)


def absent_out(*, forever: bool) -> bytes:
    """A name that does not exist, now or `forever`."""
    return _ENTRY.pack(0, 0, _FOREVER if forever else 0, 0, 0, 0) + bytes(_ATTR.size)


def dirent(node: int, position: int, mode: int, name: bytes) -> bytes:
    padded = -len(name) % 8
    return _DIRENT.pack(node, position, len(name), mode >> 12) + name + bytes(padded)


def dirent_plus(node: int, position: int, a: Attributes, name: bytes) -> bytes:
    return entry_out(node, a) + dirent(node, position, a.mode, name)


def dirent_bare(node: int, position: int, mode: int, name: bytes) -> bytes:
    """An entry of READDIRPLUS that is not looked up: "." and ".."."""
    return _NO_ENTRY + dirent(node, position, mode, name)


def statfs_out(files: int) -> bytes:
    return _STATFS.pack(0, 0, 0, files, 0, _BLOCK, 255, _BLOCK, 0)


def size_out(size: int) -> bytes:
    return _U32_PAIR.pack(size, 0)
