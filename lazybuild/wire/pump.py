"""A connection over two pipes for a library that only knows sockets.

grpc can't speak HTTP/2 over a pair of descriptors, so it dials a private unix socket and two
threads carry the bytes on. The socket lies in a directory that only this user can enter, and is
gone as soon as it has been dialled.
"""

import contextlib
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

PIECE = 1 << 16
NAME = "s"


class PipedSocket:
    """`target` is what a channel dials; the first caller gets the two descriptors."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._fds = (read_fd, write_fd)
        self._folder = tempfile.mkdtemp(prefix="lazybuild-")
        path = Path(self._folder) / NAME
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self.target = f"unix:{path}"
        self._done = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Wait until what was sent has been carried out."""
        self._done.wait(timeout=1)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        read_fd, write_fd = self._fds
        with connection:
            threading.Thread(
                target=carry,
                args=(
                    lambda: os.read(read_fd, PIECE),
                    connection.sendall,
                    lambda: _end(connection),
                ),
                daemon=True,
            ).start()
            carry(
                lambda: connection.recv(PIECE), lambda data: _write(write_fd, data), self._done.set
            )


def carry(
    read: Callable[[], bytes], write: Callable[[bytes], object], end: Callable[[], object]
) -> None:
    """Bytes from here to there until one of the two is closed."""
    try:
        while data := read():
            write(data)
    except OSError:
        pass  # the other side went away: the same as its end
    finally:
        end()


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it may be closed already
        connection.shutdown(socket.SHUT_WR)
