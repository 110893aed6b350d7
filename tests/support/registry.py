"""A whole OCI registry in this process, on a free loopback port, that can be told to fail.

    with LocalRegistry() as registry:
        digest = registry.put_blob("some/repo", b"bytes")
        registry.fault(Fault(path="/blobs/", status=503))
        ...
        assert [x.status for x in registry.log] == [503, 200]

`registry.host` is "127.0.0.1:PORT". Blobs live in memory. `LocalRegistry(twin=other)` serves the
same content from another port: a mirror, or the place that redirects lead to.
Spec: OCI distribution 1.1; token flow as in the documentation of distribution.
"""

import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.faults import Exchange, Fault, Script
from support.registry_content import Content, Reply, Requested, answer
from support.registry_door import Door

_BLOCK = 1 << 16


class LocalRegistry:
    """The registry as tests hold it. Everything is ready when the constructor returns."""

    def __init__(
        self,
        *,
        twin: "LocalRegistry | None" = None,
        door: Door | None = None,
        certificate: Path | None = None,
        latency: float = 0.0,
        rate: float = 0.0,
        referrers: bool = True,
        mount: bool = True,
        location_base: str = "",
    ) -> None:
        self.content = twin.content if twin else Content()
        self.door = door or Door()
        self.latency = latency
        self.referrers = referrers
        self.mount = mount
        self.location_base = location_base
        self.script = Script()
        self._log: list[Exchange] = []
        self._active = 0
        self._settled = threading.Condition()
        self.ending = threading.Event()
        self._pace = _Pace(rate)
        self._server = _Server(self, certificate)
        self.scheme = "https" if certificate else "http"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    def put_blob(self, repository: str, data: bytes) -> str:
        return self.content.put_blob(repository, data)

    def put_manifest(
        self,
        repository: str,
        data: bytes,
        *,
        tag: str = "",
        media_type: str = "application/vnd.oci.image.manifest.v1+json",
    ) -> str:
        return self.content.put_manifest(repository, data, media_type, tag)

    def fault(self, fault: Fault) -> None:
        self.script.add(fault)

    def requests(self, method: str = "", part: str = "") -> list[Exchange]:
        """The log, only with this method and this part of the path."""
        return [x for x in self.log if (not method or x.method == method) and part in x.path]

    @property
    def log(self) -> list[Exchange]:
        """All requests so far; waits a moment for handlers that are still at their last word."""
        with self._settled:
            self._settled.wait_for(lambda: not self._active, timeout=0.5)
            return list(self._log)

    def enter(self) -> None:
        with self._settled:
            self._active += 1

    def note(self, exchange: Exchange) -> None:
        with self._settled:
            self._active -= 1
            self._log.append(exchange)
            self._settled.notify_all()

    def pace(self, count: int) -> None:
        self._pace.wait(count)

    def close(self) -> None:
        self.ending.set()
        self._server.shutdown()
        self._thread.join()
        self._server.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Pace:
    """A link of so many bytes a second, shared by all connections; 0 is no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free = 0.0
        self._lock = threading.Lock()

    def wait(self, count: int) -> None:
        if not self._rate:
            return
        with self._lock:
            self._free = max(self._free, time.monotonic()) + count / self._rate
            pause = self._free - time.monotonic()
        time.sleep(max(pause, 0.0))


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, registry: LocalRegistry, certificate: Path | None) -> None:
        self.registry = registry
        self.connections: dict[socket.socket, int] = {}
        self.count = 0
        self.lock = threading.Lock()
        self.context: ssl.SSLContext | None = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.context:
            connection = self.context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        with self.lock:
            self.count += 1
            self.connections[connection] = self.count
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self.lock:
            self.connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the game; anything else is printed as it is."""
        if not isinstance(sys.exc_info()[1], OSError | ssl.SSLError):
            super().handle_error(request, client_address)

    def end(self) -> None:
        with self.lock:
            connections = list(self.connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, template: str, *args: object) -> None:
        """Keep the test output clean: the log is a list."""

    def _serve(self) -> None:
        registry = self.server.registry
        self._received = self._sent = self._status = 0
        registry.enter()
        fault = registry.script.take(self.command, self.path)
        registry.ending.wait(registry.latency + fault.delay)
        try:
            self._act(registry, fault)
        finally:
            registry.note(self._exchange())

    def _act(self, registry: LocalRegistry, fault: Fault) -> None:
        if fault.reset:
            self._reset()
            return
        body = self._body(fault.receive)
        request = self._requested(body)
        if fault.receive is not None:
            registry.content.append(request)
            self._reset()
            return
        self._send(self._reply(registry, request, fault), fault)

    def _requested(self, body: bytes) -> Requested:
        parts = urllib.parse.urlsplit(self.path)
        return Requested(
            method=self.command,
            path=urllib.parse.unquote(parts.path),
            query={k: v[-1] for k, v in urllib.parse.parse_qs(parts.query).items()},
            headers={k.lower(): v for k, v in self.headers.items()},
            body=body,
        )

    def _reply(self, registry: LocalRegistry, request: Requested, fault: Fault) -> Reply:
        if fault.status:
            return Reply(fault.status, dict(fault.headers), fault.body)
        refused = registry.door.answer(request, registry.url)
        if fault.redirect and not refused:
            glue = "&" if "?" in self.path else "?"
            place = f"{fault.redirect}{self.path}{glue if fault.query else ''}{fault.query}"
            return Reply(307, {"Location": place, **fault.headers})
        if fault.ignore_range:
            request.headers.pop("range", None)
        reply = refused or answer(registry, request)
        reply.headers.update(fault.headers)
        if fault.content_range:
            reply.headers["Content-Range"] = fault.content_range
        return reply

    def _body(self, limit: int | None) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunked()
        length = int(self.headers.get("Content-Length", 0))
        data = self.rfile.read(length if limit is None else min(limit, length))
        self._received = len(data)
        return data

    def _chunked(self) -> bytes:
        data = bytearray()
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self._received = len(data)
        return bytes(data)

    def _send(self, reply: Reply, fault: Fault) -> None:
        self._status = reply.status
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in reply.headers and reply.status != 204:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(_flipped(reply.body, fault.flip), fault)

    def _send_body(self, body: bytes, fault: Fault) -> None:
        stops = [n for n in (fault.cut, fault.stall) if n is not None]
        view = memoryview(body)[: min(stops, default=len(body))]
        for start in range(0, len(view), _BLOCK):
            block = view[start : start + _BLOCK]
            self.server.registry.pace(len(block))
            self.wfile.write(block)
            self._sent += len(block)
        if fault.stall is not None:
            self._stall()
        if fault.cut is not None:
            self.close_connection = True

    def _stall(self) -> None:
        """Say nothing until the client hangs up or the registry ends."""
        self.connection.settimeout(0.05)
        while not self.server.registry.ending.is_set():
            with suppress(TimeoutError):
                if not self.connection.recv(1):
                    break
        self.close_connection = True

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _exchange(self) -> Exchange:
        path, _, query = self.path.partition("?")
        return Exchange(
            method=self.command,
            path=path,
            query=query,
            range=self.headers.get("Range", ""),
            authorization=self.headers.get("Authorization", ""),
            headers={k.lower(): v for k, v in self.headers.items()},
            status=self._status,
            sent=self._sent,
            received=self._received,
            connection=self.server.connections.get(self.connection, 0),
        )


for _method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler._serve)


def _flipped(body: bytes, at: int | None) -> bytes:
    if at is None or at >= len(body):
        return body
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
