"""A BuildKit over TLS: who it must be, and what is said when it is somebody else."""

from concurrent import futures

import grpc
import pytest
from support import certificates

from lazybuild.errors import HostError, UsageError
from lazybuild.wire import dial
from lazybuild.wire.dial import Tls


@pytest.fixture
def made(tmp_path):
    return certificates.make(tmp_path)


@pytest.fixture
def address(made):
    """Something that speaks gRPC over TLS, and has nothing to say."""
    pem = made.server.read_bytes()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    credentials = grpc.ssl_server_credentials([(pem, made.authority.read_bytes())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    yield dial.parse(f"tcp://127.0.0.1:{port}")
    server.stop(None)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    monkeypatch.setattr(dial, "SECONDS", 1.0)


def test_a_daemon_that_is_trusted(address, made):
    with dial.connected(address, Tls(ca=str(made.authority))) as channel:
        assert channel is not None


def test_a_certificate_of_somebody_else(address, tmp_path):
    (tmp_path / "other").mkdir()
    other = certificates.make(tmp_path / "other")
    with (
        pytest.raises(HostError, match="does not answer") as caught,
        dial.connected(address, Tls(ca=str(other.authority))),
    ):
        pass
    assert "certificate" in caught.value.hint


def test_a_name_that_is_not_in_the_certificate(address, made):
    wrong = Tls(ca=str(made.authority), server_name="somebody.else")
    with pytest.raises(HostError, match="does not answer"), dial.connected(address, wrong):
        pass


def test_a_file_that_is_not_there(address):
    with (
        pytest.raises(UsageError, match="No such file"),
        dial.connected(address, Tls(ca="/nowhere/ca.pem")),
    ):
        pass
