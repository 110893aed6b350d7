"""Requests of the kernel by hand: every one has an answer, and none ends the server."""

import errno
import os
import random
import socket
import struct
import threading

import pytest
from support.layers import file, link
from support.lazylayers import MemoryCache, lazy_layer

from lazybuild.snapshots.lazyfs import protocol
from lazybuild.snapshots.lazyfs.fuse import Hooks, Server
from lazybuild.snapshots.lazyfs.protocol import Op
from lazybuild.snapshots.lazyfs.reader import ChunkReader
from lazybuild.snapshots.lazyfs.tree import ROOT
from lazybuild.snapshots.lazyfs.view import View

IN = struct.Struct("=IIQQIIIHH")
LONG = random.Random(1).randbytes(150_000)


class Kernel:
    """Our end of a socket that the server takes for /dev/fuse."""

    def __init__(self, *, xattrs=True):
        self.view = View()
        items = [file("f", b"hello", xattrs={"user.a": b"1"}), link("l", "f"), file("long", LONG)]
        self.shown = self.view.add("layer", lazy_layer(items))
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.failed, self.given = [], []
        hooks = Hooks(
            failed=lambda *what: self.failed.append(what),
            first_read=lambda layer, ino: None,
            fetched=lambda layer, ino: None,
        )
        self.server = Server(
            theirs.detach(), self.view, ChunkReader(MemoryCache()), xattrs=xattrs, hooks=hooks
        )
        self.server.start()
        self.unique = 0

    def ask(self, opcode, node=1, body=b""):
        self.unique += 1
        size = IN.size + len(body)
        self.ours.send(IN.pack(size, opcode, self.unique, node, 0, 0, 0, 0, 0) + body)
        return self.answer()

    def answer(self):
        self.ours.settimeout(5)
        reply = self.ours.recv(1 << 21)
        if not int.from_bytes(reply[8:16], "little"):
            self.given.append(reply)
            return self.answer()
        length, error, unique = struct.unpack_from("=IiQ", reply)
        assert (length, unique) == (len(reply), self.unique)
        return -error, reply[16:]

    def close(self):
        self.ours.close()
        for thread in threading.enumerate():
            if thread.name in ("lazyfs-0", "lazyfs-1", "lazyfs-2"):
                thread.join(5)
        self.server.close()


@pytest.fixture
def kernel():
    one = Kernel()
    yield one
    one.close()


def node_of(kernel, path):
    return kernel.shown.node(kernel.shown.layer.tree.find(path))


def test_a_name_its_attributes_and_its_bytes(kernel):
    error, out = kernel.ask(Op.LOOKUP, 1, b"layer\0")
    assert error == 0
    (top,) = struct.unpack_from("=Q", out)
    assert top == kernel.shown.node(ROOT)
    error, out = kernel.ask(Op.LOOKUP, top, b"f\0")
    node, _, entry_valid, attr_valid = struct.unpack_from("=QQQQ", out)
    assert node == node_of(kernel, b"f")
    assert min(entry_valid, attr_valid) > 10**8
    error, out = kernel.ask(Op.READ, node, struct.pack("=QQIIQII", 0, 1, 3, 0, 0, 0, 0))
    assert (error, out) == (0, b"ell")
    assert kernel.ask(Op.READ, node, struct.pack("=QQIIQII", 0, 99, 3, 0, 0, 0, 0)) == (0, b"")
    assert kernel.ask(Op.READLINK, node_of(kernel, b"l")) == (0, b"f")


def read(kernel, path, offset, size):
    body = struct.pack("=QQIIQII", 0, offset, size, 0, 0, 0, 0)
    assert kernel.ask(Op.READ, node_of(kernel, path), body) == (0, LONG[offset : offset + size])


def test_what_is_read_through_is_given_unasked_to_the_end_of_its_chunk(kernel):
    read(kernel, b"long", 0, 20_000)
    assert not kernel.given
    read(kernel, b"long", 20_000, 20_000)
    (message,) = kernel.given
    head = struct.unpack_from("=IiQQQII", message)
    rest = LONG[40_000:]
    assert head == (40 + len(rest), 4, 0, node_of(kernel, b"long"), 40_000, len(rest), 0)
    assert message[40:] == rest


def test_what_is_read_here_and_there_is_only_answered(kernel):
    for offset in (0, 40_000, 20_000, 100_000):
        read(kernel, b"long", offset, 20_000)
    read(kernel, b"long", 120_000, 20_000)  # little is left
    assert not kernel.given


def test_an_absent_name_is_absent_for_ever_but_not_at_the_root(kernel):
    for node, lasting in ((1, False), (kernel.shown.node(ROOT), True)):
        error, out = kernel.ask(Op.LOOKUP, node, b"absent\0")
        found, _, valid = struct.unpack_from("=QQQ", out)
        assert (error, found, valid > 0) == (0, 0, lasting)


@pytest.mark.parametrize("opcode", [Op.OPEN, Op.OPENDIR, 25, 34, 39, 46, 52, 0, 9999, 2**31])
def test_what_is_not_served_is_enosys(kernel, opcode):
    assert kernel.ask(opcode)[0] == errno.ENOSYS


def test_attributes_follow_the_rules_of_their_system_calls(kernel):
    def get(name, size):
        body = struct.pack("=II", size, 0) + name + b"\0"
        return kernel.ask(Op.GETXATTR, node_of(kernel, b"f"), body)

    assert get(b"user.a", 10) == (0, b"1")
    assert get(b"user.a", 0) == (0, struct.pack("=II", 1, 0))
    assert get(b"user.b", 10)[0] == errno.ENODATA
    listing = struct.pack("=II", 3, 0)
    assert kernel.ask(Op.LISTXATTR, node_of(kernel, b"f"), listing)[0] == errno.ERANGE
    assert kernel.ask(Op.GETXATTR, 1, struct.pack("=II", 9, 0) + b"user.a\0")[0] == errno.ENODATA


def test_a_mount_without_attributes_says_so_once_and_for_all():
    kernel = Kernel(xattrs=False)
    body = struct.pack("=II", 9, 0) + b"user.a\0"
    assert kernel.ask(Op.GETXATTR, node_of(kernel, b"f"), body)[0] == errno.ENOSYS
    assert kernel.ask(Op.LISTXATTR, node_of(kernel, b"f"), body)[0] == errno.ENOSYS
    kernel.close()


def test_the_handshake():
    flags, out = protocol.agree(struct.pack("=IIII", 7, 45, 131072, 0xFFFFFFFF))
    assert len(out) == 64
    assert flags == protocol.WANTED
    assert protocol.agree(struct.pack("=IIII", 7, 45, 0, protocol.ASYNC_READ))[0] == 1


def test_a_kernel_that_must_open_files_is_refused(kernel):
    assert kernel.ask(Op.INIT, 0, struct.pack("=IIII", 7, 20, 0, 1))[0] == errno.EPROTO
    assert kernel.ask(Op.STATFS)[0] == 0


def test_noise_is_answered_and_survived(kernel):
    rng = random.Random(7)
    for opcode in (*Op, 4, 6, 53):
        if opcode in protocol.SILENT:
            continue
        for _ in range(30):
            body = rng.randbytes(rng.choice([0, 1, 8, 40, 300]))
            error, _ = kernel.ask(opcode, rng.choice([0, 1, 2**32 + 1, rng.getrandbits(63)]), body)
            assert 0 <= error < 200
    assert kernel.ask(Op.STATFS)[0] == 0
    assert os.listdir("/proc/self/fd")


def test_a_request_that_memory_is_missing_for_is_answered(kernel, monkeypatch):
    def none(*_):
        raise MemoryError

    monkeypatch.setattr(kernel.view, "attributes", none)
    assert kernel.ask(Op.GETATTR) == (errno.ENOMEM, b"")
    monkeypatch.undo()
    assert kernel.ask(Op.GETATTR)[0] == 0
