"""The FUSE server: requests from /dev/fuse in, answers out. Read-only, without libfuse.

Owns the mount, the device's descriptor and the threads that serve it. What a file system looks
like is `view`'s, where bytes come from `reader`'s business. Content never changes, so the kernel
may keep all it is told: OPEN and OPENDIR are refused once with ENOSYS and never come back.

A request that can be answered from memory or the disk cache is answered by the thread that took
it; one that has to wait for the network goes to a pool, so that waiting never stops the others.
"""

import contextlib
import errno
import os
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lazybuild.errors import HostError
from lazybuild.linux import syscalls
from lazybuild.linux.workers import Workers
from lazybuild.snapshots.lazyfs import protocol
from lazybuild.snapshots.lazyfs.layer import LazyLayer
from lazybuild.snapshots.lazyfs.protocol import Op
from lazybuild.snapshots.lazyfs.reader import ChunkReader
from lazybuild.snapshots.lazyfs.view import Shown, View

_READERS = 3
_WAITERS = 32
_GONE = (errno.ENODEV, errno.EBADF)
_AGAIN = (errno.EINTR, errno.EAGAIN, errno.ENOENT)

Buffers = Sequence[bytes | memoryview]
OnFailure = Callable[[LazyLayer, bytes, Exception], None]
"""(layer, path, what went wrong) of a read that was answered with EIO."""


def open_and_mount(target: Path) -> int:
    """Mount an empty FUSE file system here; returns the descriptor to serve it with."""
    try:
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"/dev/fuse can't be opened: {error.strerror}") from error
    options = (
        f"fd={fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},"
        f"allow_other,default_permissions,max_read={protocol.MAX_READ}"
    )
    flags = syscalls.MS_RDONLY | syscalls.MS_NODEV | syscalls.MS_NOSUID
    try:
        syscalls.mount("lazybuild", target, "fuse.lazybuild", flags, options)
    except OSError as error:
        os.close(fd)
        raise HostError(f"a FUSE file system can't be mounted: {error.strerror}") from error
    return fd


OnRead = Callable[[LazyLayer, int], None]
"""(layer, inode)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the server tells of reads: that one failed, is a file's first, had to wait for bytes."""

    failed: OnFailure
    first_read: OnRead
    fetched: OnRead


class _Last(NamedTuple):
    """The chunk that was read last, for the reads of it that are going to follow at once."""

    node: int
    start: int
    end: int
    data: memoryview
    layer: LazyLayer
    chunk: int


class Server:
    """Serves one mount. `xattrs` False answers all requests for attributes once, with ENOSYS."""

    def __init__(
        self,
        fd: int,
        view: View,
        reader: ChunkReader,
        *,
        xattrs: bool,
        hooks: Hooks,
    ) -> None:
        self._fd, self._view, self._reader = fd, view, reader
        self._hooks = hooks
        self._waiters = Workers(_WAITERS, "lazyfs-wait")
        self._last: _Last | None = None
        self._expected = (0, 0)
        self._giving = threading.Lock()
        self._waiting: dict[int, float] = {}
        self._answers: dict[int, Callable[[int, int, bytes], Buffers | None]] = {
            Op.LOOKUP: self._lookup,
            Op.GETATTR: self._getattr,
            Op.READLINK: self._readlink,
            Op.READ: self._read,
            Op.READDIR: self._readdir,
            Op.READDIRPLUS: self._readdirplus,
            Op.STATFS: self._statfs,
            Op.INIT: self._init,
            Op.DESTROY: self._destroy,
        }
        if xattrs:
            self._answers[Op.GETXATTR] = self._getxattr
            self._answers[Op.LISTXATTR] = self._listxattr

    def start(self) -> None:
        for number in range(_READERS):
            threading.Thread(target=self._serve, name=f"lazyfs-{number}", daemon=True).start()

    def oldest(self) -> float:
        """Seconds that the request which has been waiting longest has been waiting."""
        since = min(self._waiting.copy().values(), default=None)
        return 0.0 if since is None else time.monotonic() - since

    def _serve(self) -> None:
        buffer = bytearray(protocol.BUFFER)
        while True:
            try:
                length = os.readv(self._fd, [buffer])
            except OSError as error:
                if error.errno in _AGAIN:
                    continue
                if error.errno in _GONE:
                    return
                raise
            if not length:
                return
            self._handle(bytes(memoryview(buffer)[:length]))

    def _handle(self, request: bytes) -> None:
        _, opcode, unique, node, *_ = protocol.REQUEST.unpack_from(request)
        if opcode in protocol.SILENT:
            return
        answer = self._answers.get(opcode)
        if answer is None:
            self._send([protocol.reply_error(unique, errno.ENOSYS)])
            return
        try:
            out = answer(unique, node, request[protocol.REQUEST.size :])
        except OSError as error:
            self._send([protocol.reply_error(unique, error.errno or errno.EIO)])
        except (LookupError, struct.error):
            self._send([protocol.reply_error(unique, errno.EINVAL)])
        except MemoryError:
            self._send([protocol.reply_error(unique, errno.ENOMEM)])
        else:
            if out is not None:
                self._reply(unique, out)

    def _reply(self, unique: int, out: Buffers) -> None:
        self._send([protocol.reply_head(unique, sum(map(len, out))), *out])

    def _send(self, out: Buffers) -> None:
        """A request that was interrupted (ENOENT) or whose mount is gone needs no answer."""
        try:
            os.writev(self._fd, out)
        except OSError as error:
            if error.errno not in (*_AGAIN, *_GONE):
                raise

    # answers

    def _init(self, unique: int, node: int, body: bytes) -> Buffers:
        del unique, node
        flags, out = protocol.agree(body)
        if flags & protocol.NEEDED != protocol.NEEDED:
            raise OSError(errno.EPROTO, "this kernel's FUSE is too old")
        return [out]

    def _destroy(self, unique: int, node: int, body: bytes) -> Buffers:
        del unique, node, body
        return []

    def _lookup(self, unique: int, node: int, body: bytes) -> Buffers:
        del unique
        return [self._view.lookup(node, body.rstrip(b"\0"))]

    def _getattr(self, unique: int, node: int, body: bytes) -> Buffers:
        del unique, body
        return [self._view.attributes(node)]

    def _readlink(self, unique: int, node: int, body: bytes) -> Buffers:
        del unique, body
        return [self._view.link(node)]

    def _statfs(self, unique: int, node: int, body: bytes) -> Buffers:
        del unique, node, body
        return [self._view.statfs()]

    def _readdir(self, unique: int, node: int, body: bytes) -> Buffers:
        del unique
        _, start, size = protocol.READ_IN.unpack_from(body)
        return [self._view.directory(node, start, size, plus=False)]

    def _readdirplus(self, unique: int, node: int, body: bytes) -> Buffers:
        del unique
        _, start, size = protocol.READ_IN.unpack_from(body)
        return [self._view.directory(node, start, size, plus=True)]

    def _getxattr(self, unique: int, node: int, body: bytes) -> Buffers:
        del unique
        (size, _) = protocol.GETXATTR_IN.unpack_from(body)
        value = self._view.xattr(node, body[protocol.GETXATTR_IN.size :].rstrip(b"\0"))
        if value is None:
            raise OSError(errno.ENODATA, "no such attribute")
        return _sized(value, size)

    def _listxattr(self, unique: int, node: int, body: bytes) -> Buffers:
        del unique
        (size, _) = protocol.GETXATTR_IN.unpack_from(body)
        return _sized(self._view.xattr_names(node), size)

    # reads

    def _read(self, unique: int, node: int, body: bytes) -> Buffers | None:
        _, offset, size = protocol.READ_IN.unpack_from(body)
        last = self._last
        if last and last.node == node and last.start <= offset and offset + size <= last.end:
            self._give_rest(node, offset, size)
            return [last.data[offset - last.start : offset - last.start + size]]
        shown, ino = self._view.at(node)
        if self._view.note_read(shown, ino):
            self._hooks.first_read(shown.layer, ino)
        out = self._pieces(shown, ino, offset, size)
        self._give_rest(node, offset, size)
        if out is None:
            self._waiting[unique] = time.monotonic()
            self._waiters.do(self._read_later, unique, shown, ino, offset, size)
        return out

    def _give_rest(self, node: int, offset: int, size: int) -> None:
        """Put what is left of a chunk into the kernel's cache if its file is being read through.

        The kernel asks for 128 KiB at a time, and nobody but the machine's root may change that.
        It can't take pages that it is just asking for before they are sent, so that one thread at
        most may be at this: the others answer.
        """
        last, end, goes_on = self._last, offset + size, self._expected == (node, offset)
        self._expected = (node, end)
        if not (goes_on and last and last.node == node and last.start < end <= last.end - size):
            return
        self._reader.load_ahead(last.layer, last.chunk)
        if not self._giving.acquire(blocking=False):
            return
        try:
            head = protocol.store_head(node, end, last.end - end)
            os.writev(self._fd, [head, last.data[end - last.start :]])
            self._expected = (node, last.end)
        except OSError:
            pass  # then it will ask
        finally:
            self._giving.release()

    def _pieces(self, shown: Shown, ino: int, offset: int, size: int) -> Buffers | None:
        layer, out = shown.layer, list[memoryview]()
        for piece in layer.tree.pieces(ino, offset, size):
            data = self._reader.local(layer, piece.chunk)
            if data is None:
                return None
            out.append(memoryview(data)[piece.start : piece.end])
            start = layer.tree.chunks.position[piece.chunk]
            if len(data) > size:
                self._last = _Last(
                    shown.node(ino), start, start + len(data), memoryview(data), layer, piece.chunk
                )
        return out

    def _read_later(self, unique: int, shown: Shown, ino: int, offset: int, size: int) -> None:
        layer = shown.layer
        try:
            pieces = layer.tree.pieces(ino, offset, size)
            data = [self._reader.read(layer, piece.chunk) for piece in pieces]
            out = [memoryview(d)[p.start : p.end] for d, p in zip(data, pieces, strict=True)]
        except Exception as error:  # noqa: BLE001  becomes EIO here and a report to the build
            try:
                self._hooks.failed(layer, layer.tree.path(ino), error)
            finally:  # whoever reads must not wait for ever
                self._send([protocol.reply_error(unique, errno.EIO)])
        else:
            self._reply(unique, out)
            self._hooks.fetched(layer, ino)
        finally:
            self._waiting.pop(unique, None)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._fd)
        self._waiters.close()


def _sized(value: bytes, size: int) -> Buffers:
    """The rule of getxattr(2) and listxattr(2): size 0 asks for the length."""
    if not size:
        return [protocol.size_out(len(value))]
    if len(value) > size:
        raise OSError(errno.ERANGE, "the buffer is too small")
    return [value]
