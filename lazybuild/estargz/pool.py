"""Pieces in, members out, in order: compresses on threads within a bounded window of bytes.

What comes out depends on the pieces alone, never on the number of threads. Pieces are handed to
threads in batches, because a task costs more than a small file. One thread submits and drains.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from lazybuild.estargz.codec import Compressor
from lazybuild.estargz.earlier import Member
from lazybuild.estargz.toc import TocEntry

_BATCH = 1 << 19
_WINDOW = 40 << 20


@dataclass(slots=True)
class Piece:
    """One member to be: `parts` joined are its bytes; the first is payload if there is a record.

    `record` gets the piece's digest, and the file's if `whole`. `owner` is the file that ends here.
    `member` begins with the payload, which has its digest; if all of it is what the piece turns out
    to be, it is taken as it is.
    """

    record: TocEntry | None = None
    whole: bool = False
    owner: TocEntry | None = None
    member: Member | None = None
    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, data: bytes) -> None:
        self.parts.append(data)
        self.size += len(data)


@dataclass(slots=True)
class Packed:
    """Members of a batch, ready to be written one after another."""

    pieces: Sequence[Piece]
    members: Sequence[bytes | bytearray]


Sink = Callable[[Packed], None]


class Pool:
    """Use as a context manager; `close` (at a clean exit) drains what is left into the sink."""

    def __init__(self, compress: Compressor, sink: Sink, threads: int) -> None:
        self._compress = compress
        self._sink = sink
        self._workers = ThreadPoolExecutor(threads, "compress") if threads > 1 else None
        self._batch: list[Piece] = []
        self._batch_size = 0
        self._queue: deque[tuple[int, Future[Packed]]] = deque()
        self._queued = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._submit()
                self._drain(0)
        finally:
            if self._workers:
                self._workers.shutdown(wait=True, cancel_futures=True)

    def put(self, piece: Piece) -> None:
        self._batch.append(piece)
        self._batch_size += piece.size
        if self._batch_size >= _BATCH:
            self._submit()
            self._drain(_WINDOW)

    def _submit(self) -> None:
        batch, size = self._batch, self._batch_size
        self._batch, self._batch_size = [], 0
        if not batch:
            return
        if self._workers is None:
            self._sink(_pack(batch, self._compress))
            return
        self._queue.append((size, self._workers.submit(_pack, batch, self._compress)))
        self._queued += size

    def _drain(self, window: int) -> None:
        """Hand over what is done, and wait until no more than the window is outstanding."""
        while self._queue and (self._queued > window or self._queue[0][1].done() or not window):
            size, future = self._queue.popleft()
            self._queued -= size
            self._sink(future.result())


def _pack(pieces: Sequence[Piece], compress: Compressor) -> Packed:
    members: list[bytes | bytearray] = []
    for piece in pieces:
        _digest(piece)
        data = piece.parts[0] if len(piece.parts) == 1 else b"".join(piece.parts)
        piece.parts.clear()
        known, piece.member = piece.member, None
        fits = known is not None and known.plain == data
        members.append(known.packed if known and fits else compress(data))
    return Packed(pieces, members)


def _digest(piece: Piece) -> None:
    if piece.record is not None:
        known = piece.member
        digest = known.digest if known else "sha256:" + hashlib.sha256(piece.parts[0]).hexdigest()
        piece.record.chunk_digest = digest
        if piece.whole:
            piece.record.digest = digest
