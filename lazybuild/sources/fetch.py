"""GET of a URL that a Dockerfile names. An edge: sockets, TLS, redirects.

Such a URL is written by whoever wrote the Dockerfile, so this is not the registry's transport: the
address is judged when the connection is made (a name may resolve to anything), link-local
addresses, where clouds answer with credentials, are refused unless allowed, redirects stay in http
and https, and a header with a credential goes to the first place only.
"""

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

from lazybuild import __version__
from lazybuild.errors import BuildError, RegistryError
from lazybuild.registry.proxies import authorization
from lazybuild.registry.redact import shown
from lazybuild.registry.trust import NotTrustedError, Origin, follow, origin

MAX_REDIRECTS = 10
PIECE = 1 << 18
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_PROXY_PORT = 3128
_METADATA = frozenset({"fd00:ec2::254", "168.63.129.16", "100.100.100.200"})  # AWS, Azure, Alibaba
_NETWORK = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Seconds and counts. `proxy` names the proxy for a URL ("" for none)."""

    timeout: float = 15.0
    attempts: int = 4
    first_wait: float = 1.0
    proxy: Callable[[str], str] = field(default=lambda _: "")


class Response:
    """The head of an answer, and its body in pieces."""

    def __init__(self, url: str, answer: http.client.HTTPResponse) -> None:
        self.url = url
        self.status = answer.status
        self._answer = answer

    def close(self) -> None:
        self._answer.close()

    def header(self, name: str) -> str:
        return self._answer.getheader(name, "")

    def pieces(self) -> Iterator[bytes]:
        """Raises OSError when the body ends early."""
        length = self.header("Content-Length")
        count = 0
        while data := self._answer.read1(PIECE):
            count += len(data)
            yield data
        if length.isdigit() and count < int(length):
            raise ConnectionError(f"ended after {count} of {length} bytes")


@contextmanager
def get(url: str, headers: Mapping[str, str], policy: Policy) -> Iterator[Response]:
    """The answer to a GET, redirects followed: 200 or 304; all else is an error.

    `headers` are sent to the origin of `url` only. Raises BuildError for what trying again does not
    mend, RegistryError for a network that does not do its part.
    """
    response = _first(url, headers, policy)
    try:
        yield response
    except _NETWORK as error:
        raise RegistryError(f"{shown(url)}: {_words(error)}") from error
    finally:
        response.close()


def _first(url: str, headers: Mapping[str, str], policy: Policy) -> Response:
    wait = policy.first_wait
    for attempt in range(1, policy.attempts + 1):
        last = attempt == policy.attempts
        try:
            response = _followed(url, headers, policy)
        except _NETWORK as error:
            if last:
                raise RegistryError(f"{shown(url)}: {_words(error)}") from error
        else:
            if response.status not in _RETRIED or last:
                return _accepted(url, response)
            response.close()
        time.sleep(wait)
        wait *= 2
    raise AssertionError("no attempt was made")


def _accepted(url: str, response: Response) -> Response:
    if response.status in (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED):
        return response
    response.close()
    kind = RegistryError if response.status in _RETRIED else BuildError
    raise kind(f"{shown(url)}: the server answers with status {response.status}")


def _followed(url: str, headers: Mapping[str, str], policy: Policy) -> Response:
    current, sent = url, dict(headers)
    for _ in range(MAX_REDIRECTS + 1):
        response = _once(current, sent, policy)
        if response.status not in _REDIRECTS:
            return response
        response.close()
        try:
            target = follow(current, response.header("Location"))
        except NotTrustedError as error:
            raise BuildError(f"{shown(url)}: redirect refused: {error}") from error
        if origin(target) != origin(url):
            sent = {name: value for name, value in sent.items() if name != "Authorization"}
        current = target
    raise BuildError(f"{shown(url)}: more than {MAX_REDIRECTS} redirects")


def _once(url: str, headers: Mapping[str, str], policy: Policy) -> Response:
    connection = _connection(url, policy)
    agent = {"User-Agent": f"lazybuild/{__version__}", "Accept-Encoding": "identity"}
    try:
        proxy = policy.proxy(url) if place_of(url).scheme == "http" else ""
        target = _target(url, absolute=bool(proxy))
        said = {**agent, **headers, **authorization(proxy), "Connection": "close"}
        connection.request("GET", target, headers=said)
        return Response(url, connection.getresponse())
    except BaseException:
        connection.close()
        raise


def _target(url: str, *, absolute: bool) -> str:
    """What stands in the request line: the whole URL for a proxy that doesn't tunnel."""
    parts = urlsplit(url)
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return f"http://{parts.netloc}{path}" if absolute else path


def place_of(url: str) -> Origin:
    """Where it is asked for; BuildError for what is no URL of a web server."""
    try:
        return origin(url)
    except NotTrustedError as error:
        raise BuildError(f"{shown(url)}: {error}") from error


def _connection(url: str, policy: Policy) -> http.client.HTTPConnection:
    place = place_of(url)
    proxy = policy.proxy(url)
    if proxy:
        return _by_proxy(place, proxy, policy)
    raw = _connected(place.host, place.port, policy.timeout)
    connection: http.client.HTTPConnection
    if place.scheme == "https":
        connection = http.client.HTTPSConnection(place.host, place.port, timeout=policy.timeout)
        connection.sock = _wrapped(raw, place.host)
    else:
        connection = http.client.HTTPConnection(place.host, place.port, timeout=policy.timeout)
        connection.sock = raw
    return connection


def _by_proxy(place: Origin, proxy: str, policy: Policy) -> http.client.HTTPConnection:
    """A proxy is the operator's choice, and it is the proxy that reaches out."""
    there = urlsplit(proxy)
    host, port = there.hostname or "", there.port or _PROXY_PORT
    if place.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=policy.timeout)
    connection = http.client.HTTPSConnection(host, port, timeout=policy.timeout)
    connection.set_tunnel(place.host, place.port, authorization(proxy))
    return connection


def _wrapped(raw: socket.socket, host: str) -> socket.socket:
    try:
        return ssl.create_default_context().wrap_socket(raw, server_hostname=host)
    except OSError:
        raw.close()
        raise


def _connected(host: str, port: int, timeout: float | None) -> socket.socket:
    failure: OSError = OSError("no address")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for family, kind, protocol, _, address in found:
        _refuse_link_local(host, str(address[0]))
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(timeout)
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def _refuse_link_local(host: str, address: str) -> None:
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None) or found
    if mapped.is_link_local or str(mapped) in _METADATA:
        raise BuildError(
            f"{host} is at {address}, a link-local address, where clouds keep credentials",
            hint="fetch the file before the build and COPY it, if that is meant",
        )


def _words(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return "the name of the host can't be resolved"
    if isinstance(error, TimeoutError):
        return "no answer within the time limit"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
