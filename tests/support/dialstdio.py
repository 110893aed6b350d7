"""Ways to a dockerd's BuildKit for those who only have something else: pipes, or TLS.

python dialstdio.py SOCKET                  # standard input and output, as `buildctl dial-stdio`
with TlsDoor(socket, cert, key, ca) as door: door.port
"""

import os
import select
import socket
import ssl
import sys
import threading
from contextlib import suppress

UPGRADE = (
    b"POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    b"Content-Length: 0\r\n\r\n"
)


def dialled(path):
    wire = socket.socket(socket.AF_UNIX)
    wire.connect(path)
    wire.sendall(UPGRADE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += wire.recv(1)
    assert b" 101 " in head, head
    return wire


def pump(read, write, end):
    with suppress(OSError, ValueError):
        while data := read(1 << 16):
            write(data)
    with suppress(OSError):
        end()


def on_standard_streams(path):
    wire = dialled(path)
    into = (lambda size: os.read(0, size), wire.sendall, lambda: wire.shutdown(socket.SHUT_WR))
    threading.Thread(target=pump, args=into, daemon=True).start()
    pump(wire.recv, lambda data: os.write(1, data), lambda: None)


class TlsDoor:
    """A port on loopback that wants a certificate of its callers, before a dockerd."""

    def __init__(self, path, *, server, clients):
        self._path = str(path)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(server)
        self._context.load_verify_locations(clients)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.set_alpn_protocols(["h2"])

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(plain,), daemon=True).start()

    def _carry(self, plain):
        """One thread for both ways: a TLS connection is not for two at once."""
        with (
            suppress(OSError),
            plain,
            self._context.wrap_socket(plain, server_side=True) as caller,
            dialled(self._path) as daemon,
        ):
            caller.setblocking(False)
            daemon.setblocking(False)
            relay(caller, daemon)


def relay(caller, daemon):
    waiting = {caller: b"", daemon: b""}  # what goes to each
    other = {caller: daemon, daemon: caller}
    while True:
        full = [to for to, data in waiting.items() if data]
        seconds = 0 if caller.pending() else 1
        readable, writable, _ = select.select([caller, daemon], full, [], seconds)
        for one in {*readable, *([caller] if caller.pending() else [])}:
            with suppress(ssl.SSLWantReadError, BlockingIOError):
                data = one.recv(1 << 16)
                if not data:
                    return
                waiting[other[one]] += data
        for one in writable:
            with suppress(ssl.SSLWantWriteError, BlockingIOError):
                waiting[one] = waiting[one][one.send(waiting[one]) :]


if __name__ == "__main__":
    on_standard_streams(sys.argv[1])
