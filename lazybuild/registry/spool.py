"""A blob that can only be had from its beginning, kept in a file that has no name.

Reads wait until the stream has come to their end; the thread that needs more pulls it. The digest
is checked when the end is reached. Thread rule: shared by all threads, one pulls at a time.
"""

import errno
import hashlib
import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Generator
from pathlib import Path

from lazybuild.errors import IntegrityError, ResourceError
from lazybuild.oci.descriptor import Descriptor
from lazybuild.registry.retry import Attempts, Kind, Trouble
from lazybuild.registry.session import Reply

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Spool:
    """`read_at` of a blob that is still on its way."""

    def __init__(
        self,
        descriptor: Descriptor,
        open_stream: Callable[[], Reply],
        attempts: Callable[[], Attempts],
        *,
        folder: str,
        first: Reply | None,
        count: Callable[[int], None],
    ) -> None:
        self._descriptor = descriptor
        self._open_stream = open_stream
        self._attempts = attempts
        self._first = first
        self._count = count
        self._folder = folder or tempfile.gettempdir()
        self._file, name = tempfile.mkstemp(prefix="lazybuild-", dir=self._folder)
        Path(name).unlink()
        self._close_file = weakref.finalize(self, os.close, self._file)
        self._hash = hashlib.sha256()
        self._have = 0
        self._lock = threading.Lock()
        self._pull = self._blocks()

    def read_at(self, offset: int, length: int) -> bytes:
        with self._lock:
            while self._have < offset + length:
                self._step()
        return os.pread(self._file, length, offset)

    def close(self) -> None:
        with self._lock:
            self._pull.close()
            if self._first:
                self._first.answer.close()
            self._close_file()

    def _step(self) -> None:
        try:
            next(self._pull)
        except BaseException:  # the generator has ended with it: the next read begins anew
            self._pull = self._blocks()
            raise

    def _blocks(self) -> Generator[None, None, None]:
        """Take one block more with every step; start again, skipping, when the stream breaks."""
        attempts = self._attempts()
        while self._have < self._descriptor.size:
            try:
                reply, self._first = self._first or self._open_stream(), None
                with reply.answer as answer:
                    place = 0
                    for block in answer.blocks(self._descriptor.size):
                        self._take(block[max(self._have - place, 0) :])
                        place += len(block)
                        attempts.progressed()
                        yield
                if self._have < self._descriptor.size:
                    raise Trouble(Kind.BROKEN, f"ended after {self._have} bytes")
            except Trouble as trouble:
                attempts.failed(trouble)

    def _take(self, block: bytes) -> None:
        if not block:
            return
        try:
            self._write(block)
        except OSError as error:
            if error.errno in _FULL:
                raise ResourceError(
                    f"no space for a layer of {self._descriptor.size} bytes in "
                    f"{self._folder}: {error.strerror}"
                ) from error
            raise
        self._hash.update(block)
        self._count(len(block))
        self._have += len(block)
        if self._have == self._descriptor.size:
            self._verify()

    def _write(self, block: bytes) -> None:
        view, place = memoryview(block), self._have
        while view:
            written = os.pwrite(self._file, view, place)
            view, place = view[written:], place + written

    def _verify(self) -> None:
        actual = "sha256:" + self._hash.hexdigest()
        if actual != self._descriptor.digest:
            self._have = 0
            self._hash = hashlib.sha256()
            raise IntegrityError(
                f"a blob that should be {self._descriptor.digest} arrived as {actual}"
            )
