"""A stream that a thread of its own reads ahead, so that what makes its bytes runs beside what
uses them: decompression and digests give the interpreter lock up while they work.

Memory: `DEPTH` pieces. The thread ends with the stream, with an error in it, or when this is
closed; an error shows where the bytes before it have been read.
"""

import contextlib
import hashlib
import io
import threading
from queue import Empty, Queue
from types import TracebackType
from typing import BinaryIO, Self

PIECE = 1 << 20
DEPTH = 8


class ReadAhead(io.BufferedIOBase, BinaryIO):
    """Use as a context manager. `digest` and `count` are of all bytes, once `drain` has returned.

    Read by one thread.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.count = 0
        self._queue: Queue[bytes | BaseException] = Queue(DEPTH)
        self._stop = threading.Event()
        self._piece = b""
        self._at = 0
        self._end: BaseException | None = None
        self._thread = threading.Thread(target=self._pull, name="read-ahead", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(PIECE), b""))
        start = self._at
        if start + size <= len(self._piece):
            self._at = start + size
            return self._piece[start : self._at]
        parts = [self._piece[start:]]
        missing = size - len(parts[0])
        while missing and self._next():
            self._at = min(missing, len(self._piece))
            parts.append(self._piece[: self._at])
            missing -= self._at
        return b"".join(parts)

    read1 = read

    def drain(self) -> None:
        """Let everything that is left pass."""
        while self._next():
            pass
        self._at = 0

    def close(self) -> None:
        self._stop.set()
        while self._thread.is_alive():
            with contextlib.suppress(Empty):
                self._queue.get_nowait()
            self._thread.join(0.01)
        super().close()

    def _next(self) -> bool:
        """Take the next piece; False at the end. Raises what the stream raised, each time."""
        self._piece = b""
        if self._end is None:
            found = self._queue.get()
            if isinstance(found, bytes) and found:
                self._piece = found
                return True
            self._end = EOFError() if isinstance(found, bytes) else found
        self._at = 0
        if isinstance(self._end, EOFError):
            return False
        raise self._end

    def _pull(self) -> None:
        try:
            data = self._stream.read(PIECE)
            while data and not self._stop.is_set():
                self._hash.update(data)
                self.count += len(data)
                self._queue.put(data)
                data = self._stream.read(PIECE)
            self._queue.put(b"")
        except BaseException as error:  # noqa: BLE001 - raised to the one who reads
            self._queue.put(error)
