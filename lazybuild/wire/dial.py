"""How a BuildKit is reached by its address: a socket, TLS, a dockerd, or a command's pipes.

    unix:///run/buildkit/buildkitd.sock     a daemon here
    tcp://HOST:PORT                         one elsewhere, with TLS when a certificate is given
    docker:// or docker:///PATH             the BuildKit inside a dockerd, over its own socket
    docker-container://NAME                 `docker exec NAME buildctl dial-stdio`
    kube-pod://NAME?namespace=&container=   `kubectl exec NAME -- buildctl dial-stdio`

An edge. Commands get the address as arguments, never through a shell.
"""

import os
import re
import socket
import ssl
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import grpc

from lazybuild.errors import HostError, UsageError
from lazybuild.wire.calls import OPTIONS, open_channel, ready
from lazybuild.wire.pump import PipedSocket

DOCKER_SOCKET = "/var/run/docker.sock"
SECONDS = 10.0
PAUSE = 0.2
SETTINGS_SECONDS = 2.0
MAX_REPLY = 16 << 10
MAX_LINES, MAX_LINE = 20, 500
HINT = "is a BuildKit running there, and may you use it?"
TLS_HINT = "is a BuildKit running there, and does it want TLS (--tlscacert)?"
KINDS = ("unix", "tcp", "docker", "docker-container", "kube-pod")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_UPGRADE = (
    b"POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    b"Content-Length: 0\r\n\r\n"
)


# Says why nobody will answer, or nothing.
Gone = Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files of a connection over TCP: who signs the server, who we are; the name it must have."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    server_name: str = ""

    def __bool__(self) -> bool:
        return bool(self.ca or self.cert)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A checked address. `place` is a path, HOST:PORT or a name."""

    kind: str
    place: str
    query: Mapping[str, str]
    text: str


def parse(text: str) -> Address:
    """Raises UsageError for what is no address of a BuildKit."""
    try:
        url = urlsplit(text)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
    except ValueError as error:
        raise UsageError(f"--builder {text}: {error}") from error
    if url.scheme not in KINDS:
        known = ", ".join(f"{kind}://" for kind in KINDS)
        raise UsageError(f"--builder {text}: not an address", hint=f"one of {known}")
    place = f"{url.netloc}{url.path}" if url.scheme in ("unix", "docker") else url.netloc
    if url.scheme in ("docker-container", "kube-pod"):
        for name in (place, *query.values()):
            if not _NAME.fullmatch(name):
                raise UsageError(f"--builder {text}: {name!r} is not a name")
    if not place and url.scheme != "docker":
        raise UsageError(f"--builder {text}: the place is missing")
    return Address(kind=url.scheme, place=place, query=query, text=text)


@contextmanager
def connected(
    address: Address, tls: Tls, stop: threading.Event | None = None
) -> Iterator[grpc.Channel]:
    """A channel that somebody answers on; it is closed once `stop` is set. Raises HostError when
    nobody answers.
    """
    with ExitStack() as stack:
        channel, gone = _channel(address, tls, stack)
        stack.enter_context(channel)
        hint = TLS_HINT if address.kind == "tcp" and not tls else HINT
        ready(channel, SECONDS, address.text, hint, gone=gone)
        if stop is not None:
            stack.callback(_closing(channel, stop).set)
        yield channel


def _closing(channel: grpc.Channel, stop: threading.Event) -> threading.Event:
    """Watch `stop` until the event that is returned is set."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(PAUSE):
            if stop.is_set():
                channel.close()
                return

    threading.Thread(target=watch, daemon=True).start()
    return over


def _channel(address: Address, tls: Tls, stack: ExitStack) -> tuple[grpc.Channel, Gone]:
    match address.kind:
        case "unix":
            _knock(address, socket.AF_UNIX, address.place)
            return open_channel(f"unix:{address.place}"), _there
        case "tcp":
            return _tcp(address, tls), _there
        case "docker":
            return open_channel(_upgraded(address.place or DOCKER_SOCKET, stack)), _there
        case _:
            command = Command(_words(address))
            stack.callback(command.end)
            target = _piped(command.output, command.input, stack)
            return open_channel(target), command.gone


def _there() -> str:
    """Somebody has taken the connection; nothing more is known."""
    return ""


def _knock(address: Address, family: int, place: str | tuple[str, int]) -> None:
    """Find out at once when nobody is there: gRPC would go on trying."""
    try:
        with socket.socket(family) as wire:
            wire.settimeout(SECONDS)
            wire.connect(place)
    except OSError as error:
        raise HostError(f"{address.text}: {error.strerror or error}", hint=HINT) from error


def _tcp(address: Address, tls: Tls) -> grpc.Channel:
    host, port = _host(address)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except OSError as error:
        raise HostError(f"{address.text}: {error.strerror or error}", hint=HINT) from error
    if not tls:
        _knock(address, family, (host, port))
        return open_channel(address.place)
    ca, key, cert = _read(tls.ca), _read(tls.key), _read(tls.cert)
    _shake_hands(address, tls, family, (host, port))
    credentials = grpc.ssl_channel_credentials(
        root_certificates=ca, private_key=key, certificate_chain=cert
    )
    options = [option for option in OPTIONS if option[0] != "grpc.default_authority"]
    if tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return grpc.secure_channel(address.place, credentials, options=options)


def _shake_hands(address: Address, tls: Tls, family: int, place: tuple[str, int]) -> None:
    """Find out what gRPC would not tell: whose certificate is not taken, and why.

    A server that wants another certificate says so after the handshake (TLS 1.3), in place of the
    settings with which HTTP/2 begins.
    """
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
        context.set_alpn_protocols(["h2"])
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{address.text}: {_reason(error)}") from error
    try:
        with socket.socket(family) as plain:
            plain.settimeout(SECONDS)
            plain.connect(place)
            name = tls.server_name or place[0]
            with context.wrap_socket(plain, server_hostname=name) as wire:
                wire.settimeout(SETTINGS_SECONDS)
                with suppress(TimeoutError):  # it may wait for us
                    wire.recv(1)
    except ssl.SSLCertVerificationError as error:
        raise HostError(
            f"{address.text}: its certificate is not trusted: {error.verify_message}",
            hint="--tlscacert names who signed it, --tlsservername the name in it",
        ) from error
    except ssl.SSLError as error:
        raise HostError(
            f"{address.text}: TLS fails: {_reason(error)}",
            hint="does it want another certificate of ours (--tlscert, --tlskey), or no TLS?",
        ) from error
    except OSError as error:
        raise HostError(f"{address.text}: {error.strerror or error}", hint=HINT) from error


def _reason(error: OSError) -> str:
    """OpenSSL's words without its places in a source."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return error.strerror or str(error)


def _host(address: Address) -> tuple[str, int]:
    host, _, port = address.place.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--builder {address.text}: the port is missing")
    return host.strip("[]"), int(port)


def _read(name: str) -> bytes | None:
    if not name:
        return None
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from error


# --- a dockerd -----------------------------------------------------------------------------------


def _upgraded(path: str, stack: ExitStack) -> str:
    """Ask a dockerd for its gRPC; what to dial for it."""
    wire = stack.enter_context(socket.socket(socket.AF_UNIX))
    wire.settimeout(SECONDS)
    try:
        wire.connect(path)
        wire.sendall(_UPGRADE)
        head = _head(wire)
    except OSError as error:
        raise HostError(
            f"no dockerd at {path}: {error.strerror or error}",
            hint="is it running, may you use it?",
        ) from error
    if not head.startswith(b"HTTP/1.1 101"):
        line = head.partition(b"\r\n")[0].decode(errors="replace")
        raise HostError(f"the dockerd at {path} has no BuildKit to offer: {line}")
    wire.settimeout(None)
    return _piped(wire.fileno(), wire.fileno(), stack)


def _head(wire: socket.socket) -> bytes:
    """The answer's head, byte by byte: what follows it belongs to gRPC."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < MAX_REPLY:
        byte = wire.recv(1)
        if not byte:
            break
        head += byte
    return head


# --- commands ------------------------------------------------------------------------------------


def _words(address: Address) -> list[str]:
    if address.kind == "docker-container":
        return ["docker", "exec", "-i", address.place, "buildctl", "dial-stdio"]
    known = ("context", "namespace", "container")
    flags = [f"--{name}={address.query[name]}" for name in known if name in address.query]
    return ["kubectl", "exec", "-i", address.place, *flags, "--", "buildctl", "dial-stdio"]


class Command:
    """A command whose pipes are the connection. What it complains of is kept for the error."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._said: deque[str] = deque(maxlen=MAX_LINES)
        try:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise HostError(
                f"can't start {words[0]}: {error.strerror}", hint=f"install {words[0]}"
            ) from error
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    @property
    def input(self) -> int:
        return self._process.stdin.fileno()  # type: ignore[union-attr]  # a pipe, as asked for

    @property
    def output(self) -> int:
        return self._process.stdout.fileno()  # type: ignore[union-attr]  # likewise

    def gone(self) -> str:
        """Why the command has ended; "" while it runs."""
        status = self._process.poll()
        if status is None:
            return ""
        self._reader.join(timeout=1)
        last = self._said[-1] if self._said else ""
        return f"{' '.join(self._words[:2])} ended with {status}{': ' if last else ''}{last}"

    def end(self) -> None:
        with self._process as process:
            process.kill()

    def _listen(self) -> None:
        for line in self._process.stderr or ():
            if text := line.decode("utf-8", "replace").strip():
                self._said.append(text[:MAX_LINE])


def _piped(read_fd: int, write_fd: int, stack: ExitStack) -> str:
    piped = PipedSocket(os.dup(read_fd), os.dup(write_fd))
    stack.callback(piped.close)
    return piped.target
