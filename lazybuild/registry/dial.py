"""TCP connections to hosts with several addresses, without waiting for the dead ones (RFC 8305).

Addresses are tried in turn, families alternating, each a quarter of a second after the one before
or as soon as that has failed; the first that answers is taken.
"""

import errno
import os
import selectors
import socket
import time
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Final

_STAGGER: Final = 0.25

Address = tuple[socket.AddressFamily, tuple[object, ...]]


def dial(host: str, port: int, timeout: float) -> socket.socket:
    """A connected socket, blocking. Raises socket.gaierror, TimeoutError or OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = _alternating([(entry[0], entry[4]) for entry in found])
    race = _Race(addresses, time.monotonic() + timeout)
    try:
        return race.run()
    finally:
        race.close()


def _alternating(addresses: list[Address]) -> list[Address]:
    """The resolver's order, but the families take turns, beginning with its first."""
    first = addresses[0][0] if addresses else socket.AF_INET
    same = [a for a in addresses if a[0] == first]
    other = [a for a in addresses if a[0] != first]
    return [a for a in chain.from_iterable(zip_longest(same, other)) if a]


class _Race:
    def __init__(self, addresses: list[Address], end: float) -> None:
        self._waiting = addresses
        self._end = end
        self._selector = selectors.DefaultSelector()
        self._error: OSError = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))

    def run(self) -> socket.socket:
        while True:
            if self._waiting and (winner := self._start(*self._waiting.pop(0))):
                return self._won(winner)
            if not self._waiting and not self._selector.get_map():
                raise self._error
            left = self._end - time.monotonic()
            if left <= 0:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            if winner := self._finished(min(left, _STAGGER) if self._waiting else left):
                return self._won(winner)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            self._drop(key.fileobj)
        self._selector.close()

    def _start(
        self, family: socket.AddressFamily, address: tuple[object, ...]
    ) -> socket.socket | None:
        """Begin to connect; the socket itself if that was done at once."""
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)
        status = connection.connect_ex(address)
        if status in (0, errno.EINPROGRESS):
            self._selector.register(connection, selectors.EVENT_WRITE)
            return connection if status == 0 else None
        connection.close()
        self._error = OSError(status, os.strerror(status))
        return None

    def _finished(self, seconds: float) -> socket.socket | None:
        """Wait for one that connects; drop those that fail."""
        for key, _ in self._selector.select(seconds):
            connection = key.fileobj
            if not isinstance(connection, socket.socket):
                continue
            status = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if status == 0:
                return connection
            self._error = OSError(status, os.strerror(status))
            self._drop(connection)
        return None

    def _won(self, connection: socket.socket) -> socket.socket:
        self._selector.unregister(connection)
        connection.setblocking(True)
        return connection

    def _drop(self, connection: object) -> None:
        if isinstance(connection, socket.socket):
            with suppress(KeyError):
                self._selector.unregister(connection)
            connection.close()
