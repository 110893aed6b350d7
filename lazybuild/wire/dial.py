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
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
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
MAX_REPLY = 16 << 10
HINT = "is a BuildKit running there, and may you use it?"
KINDS = ("unix", "tcp", "docker", "docker-container", "kube-pod")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_UPGRADE = (
    b"POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    b"Content-Length: 0\r\n\r\n"
)


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
        channel = stack.enter_context(_channel(address, tls, stack))
        hint = "does it trust the certificate, and is its own one trusted?" if tls else HINT
        ready(channel, SECONDS, address.text, hint)
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


def _channel(address: Address, tls: Tls, stack: ExitStack) -> grpc.Channel:
    match address.kind:
        case "unix":
            _knock(address, socket.AF_UNIX, address.place)
            return open_channel(f"unix:{address.place}")
        case "tcp":
            return _tcp(address, tls)
        case "docker":
            return open_channel(_upgraded(address.place or DOCKER_SOCKET, stack))
        case _:
            return open_channel(_command(_words(address), stack))


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
    _knock(address, family, (host, port))
    if not tls:
        return open_channel(address.place)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read(tls.ca),
        private_key=_read(tls.key),
        certificate_chain=_read(tls.cert),
    )
    options = [option for option in OPTIONS if option[0] != "grpc.default_authority"]
    if tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return grpc.secure_channel(address.place, credentials, options=options)


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


def _command(words: list[str], stack: ExitStack) -> str:
    try:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except OSError as error:
        raise HostError(f"can't start {words[0]}: {error.strerror}") from error
    stack.callback(_end, process)
    if process.stdin is None or process.stdout is None:
        raise HostError(f"{words[0]} has no pipes")
    return _piped(process.stdout.fileno(), process.stdin.fileno(), stack)


def _end(process: "subprocess.Popen[bytes]") -> None:
    with process:
        process.kill()


def _piped(read_fd: int, write_fd: int, stack: ExitStack) -> str:
    piped = PipedSocket(os.dup(read_fd), os.dup(write_fd))
    stack.callback(piped.close)
    return piped.target
