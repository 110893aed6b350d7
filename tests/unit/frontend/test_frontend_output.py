"""Which form of a result is asked for, and which a BuildKit allows."""

import pytest

from frontend import output
from frontend.output import Output
from lazybuild.errors import UsageError
from lazybuild.llb.ops import NetworkMode
from lazybuild.wire.gateway import Offer, WorkerInfo

ABLE = {"mergeop": True, "diffop": True}
HOST = {f"{output.LABEL}network": "host"}
DOCKERD = {f"{output.LABEL}moby.host-gateway-ip": "<nil>"}


def offer(labels=HOST, *, llb=ABLE, frontend=("gateway.exec",)):
    worker = WorkerInfo(id="w", labels=labels, platforms=())
    return Offer(frontend=dict.fromkeys(frontend, True), llb=llb, workers=(worker,))


def test_only_what_is_known_can_be_asked_for():
    assert output.asked({}, offer()) is None
    assert output.asked({output.MODE: ""}, Offer()) is None
    assert output.asked({output.MODE: "hot"}, offer()) is Output.HOT
    with pytest.raises(UsageError, match="LAZYBUILD_OUTPUT=warm is not supported") as caught:
        output.asked({output.MODE: "warm"}, offer())
    assert "plain, hot, exact" in caught.value.hint


def test_lazybuilds_own_engine_orders_files_itself():
    ours = offer(HOST | {f"{output.LABEL}executor": "lazybuild"})
    assert output.asked({}, ours) is Output.PLAIN
    assert output.asked({output.MODE: "hot"}, ours) is Output.HOT


def test_tracing_is_asked_for():
    assert not output.traced({})
    assert not output.traced({output.TRACE: "0"})
    assert output.traced({output.TRACE: "1"})


def test_steps_with_the_network_of_the_host_reach_buildkit():
    assert output.reach(offer(), NetworkMode.UNSET) == output.Reach()


def test_the_network_that_the_user_forces_does_too():
    found = output.reach(offer(DOCKERD), NetworkMode.HOST)
    assert found == output.Reach(network=NetworkMode.HOST)


@pytest.mark.parametrize("labels", [{}, {f"{output.LABEL}network": "cni"}, HOST | DOCKERD])
def test_others_do_not(labels):
    assert "do not share the network" in output.reach(offer(labels), NetworkMode.UNSET).obstacle


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (offer(llb={"mergeop": True}), "diffop"),
        (offer(llb={}), "mergeop, diffop"),
        (offer(frontend=()), "gateway.exec"),
    ],
)
def test_what_buildkit_lacks_is_named(given, missing):
    assert output.reach(given, NetworkMode.HOST).obstacle == f"BuildKit lacks {missing}"
