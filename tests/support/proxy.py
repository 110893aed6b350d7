"""A proxy in this process that leads every request to one place, and remembers what it was told."""

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Proxy:
    """`heads` are the requests as they arrived. Without `place` all are refused."""

    place: tuple[str, int] | None
    address: str = ""
    heads: list[str] = field(default_factory=list)

    def url(self, credentials: str = "") -> str:
        return f"http://{credentials}{self.address}"


@contextmanager
def proxy(place: tuple[str, int] | None) -> Iterator[Proxy]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        made = Proxy(place=place, address=f"{host}:{port}")
        threading.Thread(target=_accept, args=(server, made), daemon=True).start()
        yield made
        server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, told: Proxy) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, told), daemon=True).start()


def _serve(client: socket.socket, told: Proxy) -> None:
    with client, client.makefile("rb") as lines:
        head = "".join(iter(lambda: lines.readline().decode().replace("\r\n", "\n"), "\n"))
        told.heads.append(head)
        if told.place is None:
            client.sendall(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
            )
            return
        with socket.create_connection(told.place) as there:
            if head.startswith("CONNECT "):
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                there.sendall(f"{head}\n".replace("\n", "\r\n").encode())
            _relay(client, there)


def _relay(client: socket.socket, there: socket.socket) -> None:
    back = threading.Thread(target=_copy, args=(there, client), daemon=True)
    back.start()
    _copy(client, there)
    back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with source.makefile("rb", 0) as data, target.makefile("wb", 0) as out:
        try:
            shutil.copyfileobj(data, out)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return
