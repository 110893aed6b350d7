"""The only door to urllib3: one request, one answer, in blocks of bytes. No policy here.

Owns connection pools, keep-alive, timeouts and the wording of network faults. It follows no
redirect, tries nothing twice and knows no credential but the header it is given.
Thread rule: a Transport is shared by all threads, an Answer belongs to one.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import urllib3
from urllib3 import exceptions as broken
from urllib3.connection import HTTPConnection, HTTPSConnection

from lazybuild import __version__
from lazybuild.registry.calls import CONNECT, Call, Timeouts, Traffic
from lazybuild.registry.dial import dial
from lazybuild.registry.proxies import authorization
from lazybuild.registry.redact import printable
from lazybuild.registry.retry import Clock, Kind, Trouble

if TYPE_CHECKING:
    from urllib3._base_connection import BaseHTTPConnection

BLOCK: Final = 256 * 1024
_DRAIN: Final = 64 * 1024  # rather read so much of an unwanted body than open a connection anew
_TRICKLE: Final = 1024  # bytes that must come within one stall time
_AGENT: Final = f"lazybuild/{__version__}"


class Answer:
    """Status, headers, and the body as it comes. Close it, or read it to its end."""

    def __init__(self, response: urllib3.BaseHTTPResponse, stall: float, traffic: Traffic) -> None:
        self._response = response
        self._traffic = traffic
        self._stall = stall
        self.status = response.status
        self.received = 0
        self._held = b""

    def header(self, name: str) -> str:
        return self._response.headers.get(name, "")

    def headers(self, name: str) -> list[str]:
        """All values of a header that may come several times."""
        return self._response.headers.getlist(name)

    @property
    def length(self) -> int | None:
        text = self.header("Content-Length")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None  # noqa: PLR2004  # below 2^64

    def blocks(self, limit: int | None = None) -> Iterator[bytes]:
        """The body; at most `limit` bytes are asked for. Raises Trouble when it ends early."""
        with _worded():
            yield from self._blocks(limit)

    def peek(self, limit: int) -> bytes:
        """The beginning of the body, which stays to be read."""
        self._held = b"".join(self.blocks(limit))
        return self._held

    def read(self, limit: int) -> bytes:
        """The whole body, or Trouble if it is longer than `limit`."""
        data = b"".join(self.blocks(limit + 1))
        if len(data) > limit:
            raise Trouble(Kind.REFUSED, f"an answer of more than {limit} bytes")
        return data

    def close(self) -> None:
        """Give the connection back if little is left to read, else drop it."""
        left = self._response.length_remaining
        try:
            if left is not None and left <= _DRAIN:
                self._response.drain_conn()
                self._response.release_conn()
        except (broken.HTTPError, OSError):
            pass  # what is closed below needs no explanation
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _blocks(self, limit: int | None) -> Iterator[bytes]:
        if self._held:
            held, self._held = self._held, b""
            yield held
        speed = _Speed(self._stall)
        while limit is None or self.received < limit:
            most = BLOCK if limit is None else min(BLOCK, limit - self.received)
            data = self._response.read1(most)
            if not data:
                break
            self.received += len(data)
            self._traffic.count(received=len(data))
            speed.check(len(data))
            yield data
        else:
            return
        if self.length is not None and self.received < self.length:
            raise Trouble(Kind.BROKEN, f"ended after {self.received} of {self.length} bytes")
        self._response.release_conn()


class _Speed:
    """Notices a body that trickles: socket timeouts see only silence."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._since = time.monotonic()
        self._bytes = 0

    def check(self, count: int) -> None:
        self._bytes += count
        now = time.monotonic()
        if now - self._since < self._window:
            return
        if self._bytes < _TRICKLE:
            raise Trouble(Kind.STALLED, f"only {self._bytes} bytes in {now - self._since:.0f} s")
        self._since, self._bytes = now, 0


class _Dialled(HTTPConnection):
    """A connection whose socket comes from `dial`."""

    def _new_conn(self) -> socket.socket:
        """Named by urllib3, which calls it for every new connection, also to a proxy."""
        seconds = self.timeout if isinstance(self.timeout, int | float) else CONNECT
        try:
            connection = dial(self.host.strip("[]"), self.port, float(seconds))
        except socket.gaierror as error:
            raise broken.NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise broken.ConnectTimeoutError(self, "timed out") from error
        except OSError as error:
            raise broken.NewConnectionError(self, str(error)) from error
        connection.settimeout(float(seconds))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


class _DialledTls(HTTPSConnection):
    _new_conn = _Dialled._new_conn  # noqa: SLF001  # our own, one class above


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Dialled


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _DialledTls

    def _validate_conn(self, conn: "BaseHTTPConnection") -> None:
        """Connect without the library's warning: unverified is what the user asked for."""
        if conn.is_closed:
            conn.connect()


class Transport:
    """Pools of kept connections to every host that was asked."""

    def __init__(
        self,
        clock: Clock,
        timeouts: Timeouts,
        proxy_for: Callable[[str], str],
        connections: int = 16,
    ) -> None:
        self._clock = clock
        self._timeouts = timeouts
        self._proxy_for = proxy_for
        self._connections = connections
        self.traffic = Traffic()
        self._managers: dict[str, urllib3.PoolManager] = {}

    def exchange(self, call: Call) -> Answer:
        """Send and wait for the head of the answer. Raises Trouble."""
        left = self._clock.left()
        if left <= 0 or self._clock.cancelled:
            raise Trouble(Kind.REFUSED, "the time for this build is used up")
        stall = min(call.stall or self._timeouts.stall, left)
        timeout = urllib3.Timeout(connect=min(self._timeouts.connect, left), read=stall)
        with _worded():
            pool = self._pool(call)
            through = pool.proxy is not None and pool.scheme == "http"
            response = pool.urlopen(
                call.method,
                call.url if through else _target(call.url),
                body=call.body() if call.body else None,
                headers={**_headers(call), **(pool.proxy_headers if through else {})},
                timeout=timeout,
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
            )
        self.traffic.count(requests=1, sent=call.length)
        return Answer(response, stall, self.traffic)

    def close(self) -> None:
        for manager in self._managers.values():
            manager.clear()

    def _pool(self, call: Call) -> urllib3.HTTPConnectionPool:
        parts = urlsplit(call.url)
        options = {"ssl_context": call.tls()} if parts.scheme == "https" else None
        manager = self._manager(self._proxy_for(call.url))
        return manager.connection_from_host(parts.hostname, parts.port, parts.scheme, options)

    def _manager(self, proxy: str) -> urllib3.PoolManager:
        manager = self._managers.get(proxy)
        if manager is None:
            kind: dict[str, Any] = {"num_pools": 64, "maxsize": self._connections, "block": False}
            fresh = (
                urllib3.ProxyManager(proxy, proxy_headers=authorization(proxy), **kind)
                if proxy
                else urllib3.PoolManager(**kind)
            )
            fresh.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
            manager = self._managers.setdefault(proxy, fresh)
        return manager


def _target(url: str) -> str:
    parts = urlsplit(url)
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path


def _headers(call: Call) -> dict[str, str]:
    headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity", **call.headers}
    if call.body or call.method in {"POST", "PUT", "PATCH"}:
        headers["Content-Length"] = str(call.length)
    return headers


@contextlib.contextmanager
def _worded() -> Iterator[None]:
    """Turn the library's exceptions into Trouble. Their own text may hold URLs: it is not used."""
    try:
        yield
    except (broken.HTTPError, OSError, ValueError) as error:
        raise _trouble(error) from None


def _trouble(error: Exception) -> Trouble:  # noqa: PLR0911  # a table, read from the top
    match error:
        case broken.ProxyError():
            return Trouble(Kind.UNREACHABLE, "the proxy can't be reached or refuses")
        case broken.NameResolutionError():
            return Trouble(Kind.NAME, "the name of the host can't be resolved")
        case broken.NewConnectionError():
            return Trouble(Kind.UNREACHABLE, f"no connection: {_reason(error)}")
        case broken.ConnectTimeoutError():
            return Trouble(Kind.UNREACHABLE, "no connection: timed out")
        case broken.ReadTimeoutError() | TimeoutError():
            return Trouble(Kind.STALLED, "no answer within the time limit, or a stalled transfer")
        case broken.SSLError() | ssl.SSLError():
            return _tls_trouble(error)
        case broken.ProtocolError() | broken.IncompleteRead() | ConnectionError():
            return Trouble(Kind.BROKEN, f"the connection broke: {_reason(error)}")
        case socket.gaierror():
            return Trouble(Kind.NAME, "the name of the host can't be resolved")
        case OSError():
            return Trouble(Kind.UNREACHABLE, f"no connection: {_reason(error)}")
    return Trouble(Kind.REFUSED, f"not an answer of HTTP: {type(error).__name__}")


def _tls_trouble(error: Exception) -> Trouble:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
        reason = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0]
        return Trouble(
            Kind.CERTIFICATE, f"its certificate is not accepted: {printable(reason) or 'unknown'}"
        )
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text or "HTTP_REQUEST" in text:
        return Trouble(Kind.NOT_TLS, "it does not speak TLS on this port")
    if "EOF" in text or "timed out" in text or "reset" in text.lower():
        return Trouble(Kind.BROKEN, "the TLS handshake was not finished")
    return Trouble(Kind.CERTIFICATE, f"TLS failed: {type(error).__name__}")


def _reason(error: Exception) -> str:
    """The system's own words for the innermost fault."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror.lower()
        inner = seen.__cause__ or seen.__context__
        if inner is None:
            inner = next((x for x in seen.args if isinstance(x, BaseException)), None)
        seen = inner
    return "ended early"
