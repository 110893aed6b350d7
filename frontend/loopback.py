"""Offers the layers of one build on the loopback: `python -m frontend.loopback NAME MANIFEST...`.

A registry that can only be read (OCI distribution spec, "Pull"), over the folders that layers were
written to. Says its port in one line on standard output and serves until it is killed. Whoever
reads must know the name, which is random. An edge.
"""

import re
import shutil
import socket
import sys
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from frontend.places import BLOBS, LAYERS
from lazybuild.oci.descriptor import OCI_MANIFEST

_ASKED = re.compile(r"/v2/([0-9a-f]+)/(?:manifests|blobs)/(sha256:([0-9a-f]{64}))")
OCTETS = "application/octet-stream"
TLS_HANDSHAKE = b"\x16"  # RFC 8446 5.1, ContentType
NO_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\n"
"""What makes a client that tries TLS first try again without, as Go's server says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """`name` is the repository's; what is not among the `manifests` is a blob."""

    name: str
    manifests: Collection[str]
    folders: Collection[Path]

    def find(self, name: str) -> Path | None:
        found = (folder / BLOBS / name for folder in self.folders)
        return next((path for path in found if path.is_file()), None)


def main() -> int:
    _, name, *manifests = sys.argv
    shelf = Shelf(name=name, manifests=manifests, folders=tuple(Path(LAYERS).iterdir()))
    with serving(shelf) as server:
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()
    return 0


def serving(shelf: Shelf) -> ThreadingHTTPServer:
    """A server on a free port of the loopback."""
    return ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, shelf))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, shelf: Shelf, *about: Any) -> None:  # noqa: ANN401 - the library's own
        self._shelf = shelf
        super().__init__(*about)

    def handle(self) -> None:
        if self.connection.recv(1, socket.MSG_PEEK) == TLS_HANDSHAKE:
            self.wfile.write(NO_TLS)
        else:
            super().handle()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        asked = _ASKED.fullmatch(self.path)
        known = asked is not None and asked[1] == self._shelf.name
        path = self._shelf.find(asked[3]) if asked and known else None
        if asked is None or path is None:
            self._head(HTTPStatus.OK if self.path == "/v2/" else HTTPStatus.NOT_FOUND)
        else:
            self._give(path, asked[2])

    def _give(self, path: Path, name: str) -> None:
        kind = OCI_MANIFEST if name in self._shelf.manifests else OCTETS
        self._head(HTTPStatus.OK, path.stat().st_size, kind, name)
        if self.command == "GET":
            with path.open("rb") as file:
                shutil.copyfileobj(file, self.wfile)

    def _head(self, status: HTTPStatus, size: int = 0, kind: str = OCTETS, name: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        if name:
            self.send_header("Docker-Content-Digest", name)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """What is asked for is BuildKit's to tell."""


if __name__ == "__main__":
    sys.exit(main())
