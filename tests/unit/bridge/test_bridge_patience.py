"""How long a frontend is waited for, and what is said of one that does not do its part."""

import threading
import time

import pytest
from support.talk import HERE, bridge_of, conversation, speaking

from lazybuild.bridge import process
from lazybuild.bridge.conversation import Conversation, Patience
from lazybuild.errors import BuildError
from lazybuild.executor import run as executor
from lazybuild.executor.run import Exit
from lazybuild.executor.spec import StepSpec
from lazybuild.solver.once import StoppedError
from lazybuild.wire.faults import RemoteError, status
from lazybuild.wire.gateway import Lookup, Outcome

SHORT = Patience(start=0.01, silence=0.02, end=0.03)


def after_a_while(talk):
    assert talk.complaint() == ""
    time.sleep(0.05)
    return talk.complaint()


def test_one_that_does_not_begin_to_speak():
    assert after_a_while(Conversation(SHORT)) == "did not begin to speak within 0.01 s"


def test_one_that_falls_silent():
    talk = Conversation(SHORT)
    with talk.call("Ping"):
        pass
    assert "handed back nothing within 0.02 s" in after_a_while(talk)


def test_one_that_waits_for_an_answer_of_ours():
    talk = Conversation(SHORT)
    with talk.call("Solve"):
        assert after_a_while(talk) == ""


def test_one_that_hangs_after_its_result(place):
    with conversation({"context": place}, patience=SHORT) as both:
        both.gateway.give(Outcome())
        assert "did not end after it had handed back a result" in after_a_while(both.talk)


def test_every_failure_is_remembered_and_is_one_of_ours():
    talk = Conversation(SHORT)
    with pytest.raises(BuildError, match="x: No such file"), talk.call("ReadFile"):
        raise FileNotFoundError(2, "No such file or directory", "x")
    with pytest.raises(BuildError, match="failed"), talk.call("Solve"):
        raise BuildError("failed")
    assert [error.message for error in talk.failures] == ["failed"]


# --- the end of a process ------------------------------------------------------------------------


@pytest.fixture
def converse(monkeypatch, place):
    """Talk with a frontend whose process is a function of the gateway and the event to stop at."""

    def run(deeds, ended=None, *, stop=None, patience=SHORT):
        def start(spec, listen, until, stdio):
            assert stdio.stdin == stdio.stdout
            listen(2, b"Traceback\nthe last line\n")
            with speaking(stdio.stdin) as gateway:
                deeds(gateway, until)
            return ended or Exit(status=0, cancelled=until.is_set())

        monkeypatch.setattr(executor, "run", start)
        both = bridge_of({"context": place}, patience=patience)
        return process.converse(
            StepSpec(argv=("x",), rootfs=place),
            both.bridge,
            both.talk,
            stop or threading.Event(),
            name="other/one",
            let_go=lambda: None,
            listen=lambda *_: None,
        )

    return run


def waits(gateway, until):
    while not until.is_set():
        time.sleep(0.005)


def gives_and_waits(gateway, until):
    gateway.give(Outcome(metadata={"k": b"v"}))
    waits(gateway, until)


def test_a_result_is_what_counts(converse):
    made = converse(lambda gateway, _: gateway.give(Outcome(metadata={"k": b"v"})))
    assert made == Outcome(metadata={"k": b"v"})


def test_a_process_that_hangs_is_stopped_and_named(converse):
    with pytest.raises(BuildError, match="frontend other/one did not begin to speak") as caught:
        converse(waits)
    assert caught.value.hint == "it said: the last line"
    with pytest.raises(BuildError, match="did not end after it had handed back a result"):
        converse(gives_and_waits)


def test_a_status_counts_more_than_a_result(converse):
    with pytest.raises(BuildError, match="failed: exit code: 3"):
        converse(lambda gateway, _: gateway.give(Outcome()), Exit(status=3))


def test_an_error_that_was_handed_back_counts_most(converse):
    with pytest.raises(BuildError, match="no such key"):
        converse(lambda gateway, _: gateway.fail(status("no such key")), Exit(status=3))


def test_a_bug_of_ours_is_one(converse):
    def deeds(gateway, _):
        gateway.ping()
        with pytest.raises(RemoteError):
            gateway.resolve_image("bug", HERE, Lookup())

    with pytest.raises(RuntimeError, match="a bug of ours"):
        converse(deeds, Exit(status=1))


def test_a_build_that_is_stopped(converse):
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        converse(waits, stop=stop, patience=Patience())
