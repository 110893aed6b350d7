"""Sends a tree of files as fsutil packets: what is there first, then the bytes that are asked for.

The other side compares the list with what it has and asks for files by their number in the list.
One thread lists, one answers; both write into a queue of bounded length. Knows no file system.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO

from lazybuild.errors import IntegrityError, LazybuildError
from lazybuild.wire.buildkit_frontend_protos.stat_pb2 import Packet, Stat

PIECE = 64 << 10
QUEUED = 64
WAIT = 1.0

GO_DIR = 1 << 31
GO_SYMLINK = 1 << 27
GO_DEVICE = 1 << 26
GO_FIFO = 1 << 25
GO_SOCKET = 1 << 24
GO_CHAR = 1 << 21
GO_KINDS = GO_DIR | GO_SYMLINK | GO_DEVICE | GO_FIFO | GO_SOCKET | GO_CHAR
_SPECIAL = ((0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20))


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFile:
    """One name of a tree. `kind` is a GO_ bit, 0 for a regular file; `mode` as chmod's."""

    path: str
    mode: int
    kind: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link: str = ""


def go_mode(kind: int, mode: int) -> int:
    """Go's FileMode: permission bits, and everything else at the top."""
    special = sum(go for bit, go in _SPECIAL if mode & bit)
    return kind | special | (mode & 0o777)


def sent_file(stat: Stat) -> SentFile:
    """The inverse of `stat_message`, for what the other side tells of."""
    special = sum(bit for bit, go in _SPECIAL if stat.mode & go)
    return SentFile(
        path=stat.path,
        mode=special | (stat.mode & 0o777),
        kind=stat.mode & GO_KINDS,
        uid=stat.uid,
        gid=stat.gid,
        size=stat.size,
        mtime=stat.modTime,
        link=stat.linkname,
    )


class Sender:
    """One transfer: `files` in the order of their paths, `open_` for the bytes of one."""

    def __init__(self, files: Iterable[SentFile], open_: Callable[[str], BinaryIO]) -> None:
        self._files = files
        self._open = open_
        self._regular: dict[int, str] = {}
        self._queue: queue.Queue[Packet | None] = queue.Queue(QUEUED)
        self._over = threading.Event()

    def packets(self, requests: Iterator[Packet]) -> Iterator[Packet]:
        """What to send, until the other side has said that it is done."""
        for work in (self._list, lambda: self._answer(requests)):
            threading.Thread(target=self._guarded, args=(work,), daemon=True).start()
        try:
            while (packet := self._queue.get()) is not None:
                yield packet
                if packet.type == Packet.PACKET_ERR:
                    return
        finally:
            self._over.set()

    def _guarded(self, work: Callable[[], None]) -> None:
        """A failure is told to the other side; it will end the build with it."""
        try:
            work()
        except (LazybuildError, OSError) as error:
            self._put(Packet(type=Packet.PACKET_ERR, data=str(error).encode(errors="replace")))

    def _list(self) -> None:
        for number, file in enumerate(self._files):
            if not file.kind:
                self._regular[number] = file.path
            self._put(Packet(type=Packet.PACKET_STAT, stat=stat_message(file)))
        self._put(Packet(type=Packet.PACKET_STAT))

    def _answer(self, requests: Iterator[Packet]) -> None:
        for packet in requests:
            if packet.type == Packet.PACKET_REQ:
                self._send(packet.ID)
            elif packet.type == Packet.PACKET_FIN:
                self._put(Packet(type=Packet.PACKET_FIN))
                break
            elif packet.type == Packet.PACKET_ERR:
                break
        self._put(None)

    def _send(self, number: int) -> None:
        path = self._regular.get(number)
        if path is None:
            raise IntegrityError(f"BuildKit asks for file {number}, which it was not told of")
        with closing(self._open(path)) as file:
            while data := file.read(PIECE):
                self._put(Packet(type=Packet.PACKET_DATA, ID=number, data=data))
        self._put(Packet(type=Packet.PACKET_DATA, ID=number))

    def _put(self, packet: Packet | None) -> None:
        while not self._over.is_set():
            try:
                self._queue.put(packet, timeout=WAIT)
            except queue.Full:
                continue
            return


def stat_message(file: SentFile) -> Stat:
    return Stat(
        path=file.path,
        mode=go_mode(file.kind, file.mode),
        uid=file.uid,
        gid=file.gid,
        size=0 if file.kind else file.size,
        modTime=file.mtime,
        linkname=file.link,
    )
