"""Programs beside a build: real processes behind real gRPC."""

import sys
import time

import pytest
from support.bridge import Bridge

from lazybuild.llb.ops import NetworkMode
from lazybuild.wire.buildkit_frontend_protos import ops_pb2
from lazybuild.wire.calls import open_channel
from lazybuild.wire.containers import Program
from lazybuild.wire.faults import RemoteError
from lazybuild.wire.gateway import Gateway


@pytest.fixture
def bridge():
    with Bridge({}) as running:
        yield running


@pytest.fixture
def gateway(bridge):
    with open_channel(bridge.target) as channel:
        yield Gateway(channel)


def program(text, **more):
    return Program(
        name="it", argv=(sys.executable, "-c", text), mounts=[("/", "0"), ("/x", "1")], **more
    )


def test_it_speaks_until_it_is_not_wanted(bridge, gateway):
    text = "import time; print('one two', flush=True); time.sleep(60)"
    begin = time.monotonic()
    with gateway.run(program(text, network=NetworkMode.HOST)) as process:
        assert process.line() == "one two"
    assert time.monotonic() - begin < 30
    ((request, (ran,)),) = bridge.containers.values()
    assert ran.wait(10) == -9
    assert request.Network == ops_pb2.HOST
    assert [(m.dest, m.resultID, m.readonly) for m in request.Mounts] == [
        ("/", "0", False),
        ("/x", "1", True),
    ]


def test_it_has_the_environment_it_is_given(gateway):
    text = "import os; print(os.environ['A'])"
    with gateway.run(program(text, env=("A=b=c",))) as process:
        assert process.line() == "b=c"


def test_what_it_says_before_it_fails_is_told(gateway):
    with (
        gateway.run(program("import sys; sys.exit('no port')")) as process,
        pytest.raises(RemoteError, match=r"^it ended: no port\nexit code: 1$"),
    ):
        process.line()
