import os
import socket
import stat
import struct
import threading

import pytest

from lazybuild.errors import UsageError
from lazybuild.executor.ssh import FAILURE, MAX_MESSAGE, agent_socket, lent

SELF = {"uid": os.getuid(), "gid": os.getgid()}
KEYS = struct.pack(">IBI", 5, 12, 0)


def message(kind: int, body: bytes = b"") -> bytes:
    return struct.pack(">IB", 1 + len(body), kind) + body


@pytest.fixture
def agent(tmp_path):
    """An agent that answers every message with an empty list of keys and notes them."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "real"))
    server.listen()
    asked = []

    def serve():
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                while data := client.recv(65536):
                    asked.append(data)
                    client.sendall(KEYS)

    thread = threading.Thread(target=serve)
    thread.start()
    yield tmp_path / "real", asked
    server.shutdown(socket.SHUT_RDWR)
    thread.join()
    server.close()


@pytest.fixture
def ask(agent, tmp_path):
    (tmp_path / "lent").mkdir()
    with lent(agent[0], tmp_path / "lent", **SELF) as path, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.settimeout(5)

        def send(data: bytes) -> bytes:
            client.sendall(data)
            return client.recv(4096)

        yield send


def test_keys_and_signatures_are_passed_on(ask, agent):
    sign = message(13, b"key and data")
    assert ask(message(11)) == KEYS
    assert ask(sign) == KEYS
    assert agent[1] == [message(11), sign]


@pytest.mark.parametrize("kind", [17, 18, 19, 20, 22, 23, 25, 26, 27, 0, 255])
def test_everything_else_fails_and_never_reaches_the_agent(ask, agent, kind):
    assert ask(message(kind, b"x")) == FAILURE
    assert agent[1] == []


def test_an_empty_message_fails_and_a_huge_one_ends_the_connection(ask):
    assert ask(struct.pack(">I", 0)) == FAILURE
    assert ask(struct.pack(">I", MAX_MESSAGE + 1)) == b""


def test_the_socket_has_the_mode_asked_for_and_goes_away(agent, tmp_path):
    with lent(agent[0], tmp_path, mode=0o640, **SELF) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        idle = socket.socket(socket.AF_UNIX)
        idle.connect(str(path))
    assert not path.exists()
    assert idle.recv(1) == b""  # a connection left open is ended too
    idle.close()


def test_a_long_directory_name_is_no_obstacle(agent, tmp_path):
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    with lent(agent[0], deep, **SELF) as path:
        assert path.is_socket()


def test_key_files_and_missing_agents_are_refused(tmp_path):
    key = tmp_path / "id_ed25519"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    with pytest.raises(UsageError, match="key files are not supported"):
        agent_socket(str(key), "")
    with pytest.raises(UsageError, match="SSH_AUTH_SOCK"):
        agent_socket("", "")
    with pytest.raises(UsageError, match="No such file"):
        agent_socket("", str(tmp_path / "gone"))


def test_an_agent_is_found_by_place_or_by_environment(agent):
    assert agent_socket("", str(agent[0])) == agent[0]
    assert agent_socket(str(agent[0]), "/nowhere") == agent[0]
