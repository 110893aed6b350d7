"""Lends the user's ssh agent to a step: a socket that a step can ask for keys and signatures only.

A step must not add, remove or lock keys, so each message is read and judged before it is passed
on. Protocol: draft-ietf-sshm-ssh-agent, messages of a 4-byte length and a type byte.
Thread rule: each agent has a thread that accepts, and one per connection; all end with it.
"""

import os
import socket
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from lazybuild.errors import UsageError
from lazybuild.linux import idspace

REQUEST_IDENTITIES: Final = 11
SIGN_REQUEST: Final = 13
ALLOWED: Final = (REQUEST_IDENTITIES, SIGN_REQUEST)
FAILURE: Final = struct.pack(">IB", 1, 5)
MAX_MESSAGE: Final = 256 * 1024
MAX_CONNECTIONS: Final = 64


def agent_socket(place: str, ssh_auth_sock: str) -> Path:
    """The socket that `--ssh id[=place]` means; key files are not agents."""
    name = place or ssh_auth_sock
    if not name:
        raise UsageError("--ssh needs an agent, and SSH_AUTH_SOCK is not set", hint="ssh-agent")
    try:
        mode = os.stat(name).st_mode
    except OSError as failure:
        raise UsageError(f"--ssh {name}: {failure.strerror}") from failure
    if not stat.S_ISSOCK(mode):
        raise UsageError(
            f"--ssh {name} is not the socket of an agent; key files are not supported",
            hint=f"eval $(ssh-agent) && ssh-add {name}, then --ssh default",
        )
    return Path(name).absolute()


@contextmanager
def lent(
    agent: Path, directory: Path, *, uid: int = 0, gid: int = 0, mode: int = 0o600
) -> Iterator[Path]:
    """Serve `agent` on a socket in `directory` (one that no step sees); bind that into the step."""
    with socket.socket(socket.AF_UNIX) as server:
        path = _listen(server, directory, uid=uid, gid=gid, mode=mode)
        thread = threading.Thread(target=_accept, args=(server, agent), daemon=True)
        thread.start()
        try:
            yield path
        finally:
            with suppress(OSError):  # shutdown of a listening socket wakes accept
                server.shutdown(socket.SHUT_RDWR)
            thread.join()
            path.unlink(missing_ok=True)


def _listen(server: socket.socket, directory: Path, *, uid: int, gid: int, mode: int) -> Path:
    """Bind through a descriptor: the name of a socket has room for 107 bytes only."""
    held = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    name = f"agent-{threading.get_ident():x}-{server.fileno()}"
    try:
        server.bind(f"/proc/self/fd/{held}/{name}")
    finally:
        os.close(held)
    path = directory / name
    if not idspace.only_one():
        os.chown(path, uid, gid)
    os.chmod(path, mode)
    server.listen(8)
    return path


def _accept(server: socket.socket, agent: Path) -> None:
    places = threading.BoundedSemaphore(MAX_CONNECTIONS)
    open_now: set[socket.socket] = set()
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            break
        if not places.acquire(blocking=False):
            client.close()
            continue
        open_now.add(client)
        args = (client, agent, places, open_now)
        threading.Thread(target=_serve, args=args, daemon=True).start()
    for client in list(open_now):
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def _serve(
    client: socket.socket,
    agent: Path,
    places: threading.BoundedSemaphore,
    open_now: set[socket.socket],
) -> None:
    try:
        with client, socket.socket(socket.AF_UNIX) as upstream:
            upstream.connect(os.fspath(agent))
            while (message := _receive(client)) is not None:
                client.sendall(_answer(upstream, message))
    except OSError:  # either side went away: the step sees its connection end, as with ssh itself
        return
    finally:
        open_now.discard(client)
        places.release()


def _answer(upstream: socket.socket, message: bytes) -> bytes:
    if len(message) < 5 or message[4] not in ALLOWED:  # noqa: PLR2004 - length and type
        return FAILURE
    upstream.sendall(message)
    return _receive(upstream) or FAILURE


def _receive(stream: socket.socket) -> bytes | None:
    """One message with its length in front; None at the end, or when it is too long to be one."""
    head = _exactly(stream, 4)
    if head is None:
        return None
    (length,) = struct.unpack(">I", head)
    if length > MAX_MESSAGE:
        return None
    body = _exactly(stream, length)
    return None if body is None else head + body


def _exactly(stream: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        part = stream.recv(count - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)
