"""The session from the daemon's side: what was offered can be had, and nothing else."""

import io
from contextlib import contextmanager

import pytest
from support.sessions import Daemon

from lazybuild.errors import BuildError
from lazybuild.wire import session as wire
from lazybuild.wire.buildkit_frontend_protos import (
    health_pb2,
    secrets_pb2,
    session_pb2,
    sshforward_pb2,
    stat_pb2,
)
from lazybuild.wire.calls import Caller, open_channel
from lazybuild.wire.control import Control
from lazybuild.wire.faults import RemoteError
from lazybuild.wire.filesync import SentFile
from lazybuild.wire.session import Offers, SentTree, Session

NOT_FOUND = 5
received = io.BytesIO()
asked = []


@contextmanager
def output():
    received.truncate(0)
    received.seek(0)
    yield received


def directory(wanted):
    asked.append(wanted)
    if wanted.name != "context":
        return None
    files = iter([SentFile(path="f", mode=0o644, size=3)])
    return SentTree(files=files, open=lambda path: io.BytesIO(b"abc"))


def secret(name):
    if name == "broken":
        raise BuildError("secret broken: the file is gone")
    return {"s": b"geheim"}.get(name)


OFFERS = Offers(
    directory=directory,
    outputs={0: output},
    credential=lambda host: ("me", f"for {host}"),
    secret=secret,
)


@pytest.fixture
def daemon():
    with (
        Daemon() as running,
        open_channel(running.target) as channel,
        Session(Control(channel), OFFERS) as opened,
    ):
        metadata, inner = running.session()
        assert metadata["x-docker-expose-session-uuid"] == opened.id
        yield inner
        inner.close()


def test_it_answers_that_it_is_well(daemon):
    health = Caller(daemon, wire.HEALTH)
    answer = health.call("Check", health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_credentials(daemon):
    answer = Caller(daemon, wire.AUTH).call(
        "Credentials",
        session_pb2.CredentialsRequest(Host="r.example"),
        session_pb2.CredentialsResponse,
    )
    assert (answer.Username, answer.Secret) == ("me", "for r.example")


def get_secret(daemon, name):
    request = secrets_pb2.GetSecretRequest(ID=name)
    caller = Caller(daemon, wire.SECRETS)
    return caller.call("GetSecret", request, secrets_pb2.GetSecretResponse).data


def test_a_secret_that_was_given(daemon):
    assert get_secret(daemon, "s") == b"geheim"


@pytest.mark.parametrize("name", ["t", "", "../s", "/etc/shadow"])
def test_a_secret_that_was_not_given(daemon, name):
    with pytest.raises(RemoteError) as caught:
        get_secret(daemon, name)
    assert caught.value.status.code == NOT_FOUND


def test_a_secret_that_can_not_be_read(daemon):
    with pytest.raises(RemoteError, match="the file is gone"):
        get_secret(daemon, "broken")


def test_an_agent_that_was_not_given(daemon):
    request = sshforward_pb2.CheckAgentRequest(ID="default")
    with pytest.raises(RemoteError) as caught:
        Caller(daemon, wire.SSH).call("CheckAgent", request, sshforward_pb2.CheckAgentResponse)
    assert caught.value.status.code == NOT_FOUND


def copy(daemon, *metadata):
    caller = Caller(daemon, wire.FILES, metadata)
    packet = stat_pb2.Packet
    requests = [packet(type=packet.PACKET_REQ, ID=0), packet(type=packet.PACKET_FIN)]
    return list(caller.talk("DiffCopy", _later(requests), packet))


def _later(requests):
    yield from requests


def test_a_directory(daemon):
    found = copy(
        daemon,
        ("dir-name", "context"),
        ("exclude-patterns", "a%20b"),
        ("exclude-patterns", "c"),
        ("exclude-patterns-encoded", "1"),
        ("followpaths", "f"),
    )
    assert asked[-1].exclude == ("a b", "c")
    assert asked[-1].follow == ("f",)
    assert b"abc" in [each.data for each in found] or found[-1].type == stat_pb2.Packet.PACKET_ERR
    assert "f" in [each.stat.path for each in found]


def test_a_directory_that_was_not_given(daemon):
    with pytest.raises(RemoteError) as caught:
        copy(daemon, ("dir-name", "../etc"))
    assert caught.value.status.code == NOT_FOUND


def send(daemon, number):
    caller = Caller(daemon, wire.OUTPUTS, ((wire.EXPORTER, number),))
    pieces = (session_pb2.BytesMessage(data=data) for data in (b"one ", b"two"))
    return list(caller.talk("DiffCopy", pieces, session_pb2.BytesMessage))


def test_an_output(daemon):
    send(daemon, "0")
    assert received.getvalue() == b"one two"


@pytest.mark.parametrize("number", ["1", "-1", "x", "0/../1"])
def test_an_output_that_was_not_asked_for(daemon, number):
    with pytest.raises(RemoteError) as caught:
        send(daemon, number)
    assert caught.value.status.code == NOT_FOUND
