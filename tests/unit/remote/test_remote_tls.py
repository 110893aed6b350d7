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
        pytest.raises(HostError, match="its certificate is not trusted: self") as caught,
        dial.connected(address, Tls(ca=str(other.authority))),
    ):
        pass
    assert "--tlscacert" in caught.value.hint


def test_a_name_that_is_not_in_the_certificate(address, made):
    wrong = Tls(ca=str(made.authority), server_name="somebody.else")
    with pytest.raises(HostError, match="Hostname mismatch"), dial.connected(address, wrong):
        pass


def test_a_name_that_is_in_the_certificate(address, made):
    with dial.connected(address, Tls(ca=str(made.authority), server_name="localhost")):
        pass


def test_tls_where_there_is_none(made):
    server = grpc.server(futures.ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    plain = dial.parse(f"tcp://127.0.0.1:{port}")
    with (
        pytest.raises(HostError, match="TLS fails"),
        dial.connected(plain, Tls(ca=str(made.authority))),
    ):
        pass
    server.stop(None)


def test_no_tls_where_it_is_wanted(address):
    with pytest.raises(HostError, match="no answer") as caught, dial.connected(address, Tls()):
        pass
    assert "--tlscacert" in caught.value.hint


def test_a_key_that_is_none(address, made):
    wrong = Tls(ca=str(made.authority), cert=str(made.authority), key=str(made.authority))
    with pytest.raises(UsageError, match="tcp://"), dial.connected(address, wrong):
        pass


def test_a_file_that_is_not_there(address):
    with (
        pytest.raises(UsageError, match="No such file"),
        dial.connected(address, Tls(ca="/nowhere/ca.pem")),
    ):
        pass
