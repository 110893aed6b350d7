"""A builder that is told to end, or killed, at every kind of work: nothing is left, all goes on."""

import signal
import time

import pytest
from support.building import Builder, settled
from support.faults import ALWAYS, Fault
from support.killed import killed_at, places
from support.soak import SAME, damage

pytestmark = [pytest.mark.rootless, pytest.mark.usefixtures("faultless")]

SOON = 10.0  # seconds until a builder that was told to end has ended
OFF = ("--profile-from", "off", "--profile-to", "off")


def interrupted(process, number=signal.SIGINT):
    """How long the process took to end, and with what."""
    begun = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err.decode(), err.decode()
    return time.monotonic() - begun, process.returncode


def came(true):
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


# --- row 22: SIGINT and SIGTERM ------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_pull_that_stands_still_is_given_up(registry, base, builder, number):
    registry.fault(Fault(method="GET", path="/blobs/", stall=10, times=ALWAYS))
    before = len(registry.log)
    process = builder.start("pull", "--whole", base)
    came(lambda: len(registry.log) > before)
    time.sleep(0.3)
    seconds, code = interrupted(process, number)
    assert seconds < SOON
    assert code == 128 + number
    registry.script.clear()
    builder.run("pull", "--whole", base)


def test_a_push_that_stands_still_is_given_up(registry, base, builder):
    files = {"Dockerfile": f"FROM {base}\nCOPY f /f\n", "f": "text"}
    name = f"{registry.host}/pushed:1"
    builder.build(files, "-t", name, *OFF)
    registry.fault(Fault(method="PUT", path="/pushed/blobs/", delay=60, times=ALWAYS))
    process = builder.start("push", name)
    came(lambda: registry.requests("POST", "/pushed"))
    time.sleep(0.5)
    assert process.poll() is None
    seconds, code = interrupted(process)
    assert seconds < SOON
    assert code == 130
    registry.script.clear()
    builder.run("push", name)


def test_a_layer_that_is_being_written_is_given_up(base, builder):
    write = "head -c 60000000 /dev/urandom > /noise"
    until = "exporting to image"
    process = builder.started({"Dockerfile": f"FROM {base}\nRUN {write}\n"}, until=until)
    seconds, code = interrupted(process)
    assert seconds < SOON
    assert code == 130
    assert [path for path in (builder.root / "tmp").iterdir() if path.name != "fetch"] == []


def test_a_second_signal_ends_it_at_once(base, builder):
    deaf = "trap '' INT TERM HUP; echo running; while :; do sleep 1; done"
    process = builder.started({"Dockerfile": f"FROM {base}\nRUN {deaf}\n"}, until="running")
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert time.monotonic() - begun < 0.9  # the step is given a second to end
    assert process.returncode in (-signal.SIGINT, 130)
    assert settled(builder.leftovers) == []
    builder.build({"Dockerfile": f"FROM {base}\nRUN echo a\n"}, "-t", "x")


def test_what_was_finished_is_kept(base, builder):
    text = f"FROM {base}\nRUN echo first > /first\nRUN echo running; sleep 60\n"
    process = builder.started({"Dockerfile": text}, until="running")
    interrupted(process)
    again = builder.build({"Dockerfile": text.replace("sleep 60", "true")}, "-t", "x")
    assert again.step("first")["cached"]


# --- row 23: SIGKILL at each commit point --------------------------------------------------------


def test_a_builder_may_be_killed_at_every_step_of_a_commit(registry, base, builder, tmp_path):
    """Once before each call that makes something visible."""
    text = (
        f"FROM {base} AS one\nARG N\nRUN echo $N > /n; mkdir /d; ln -s /n /d/l$N\n"
        f"FROM {base}\nARG N\nCOPY --from=one /d /d\nCOPY f /f$N\n"
    )
    context = builder.context({"Dockerfile": text, "f": "text"})
    name = f"{registry.host}/killed:1"

    def words(number):
        flags = ("--build-arg", f"N={number}", "-t", name, "--push", *SAME, *OFF)
        return ("build", *flags, context)

    builder.run(*words("first"))
    found = places(builder, words("listed"))
    assert len(found) >= 4, found
    for number, place in enumerate(found):
        assert killed_at(builder, place, words(number)) == -signal.SIGKILL, place
        assert damage(builder.root) == [], place
    after = [builder.run("build", "-q", *words(number)[1:]).out for number in (0, 3)]
    alone = Builder(tmp_path / "alone")
    assert after == [alone.run("build", "-q", *words(number)[1:]).out for number in (0, 3)]
    assert damage(builder.root) == []


def test_a_pull_may_be_killed_at_every_step(base, builder):
    words = ("pull", "--whole", base)
    other = Builder(builder.folder / "other")
    for it in (builder, other):
        it.folder.mkdir(exist_ok=True)
        it.run("images")
    found = [place for place in places(other, words) if place.endswith(("#1", "#2"))]
    assert len(found) >= 3, found
    for place in found:
        assert killed_at(builder, place, words) == -signal.SIGKILL, place
        assert damage(builder.root) == [], place
    builder.run(*words)
    builder.run("run", base, "true")


# --- row 30: a collector beside a build ----------------------------------------------------------


def test_a_collector_takes_nothing_from_a_running_build(base, builder):
    steps = "".join(f"RUN echo {n} > /f{n}; cat /f* > /dev/null\n" for n in range(4))
    text = f"FROM {base}\n{steps}COPY f /f\nRUN cat /f > /g\n"
    process = builder.start(
        "build", "-t", "x", *OFF, builder.context({"Dockerfile": text, "f": ""})
    )
    collected = 0
    while process.poll() is None:
        builder.run("prune", "--all", "--force")
        collected += 1
    _, err = process.communicate()
    assert process.returncode == 0, err.decode()
    assert collected > 1
    assert damage(builder.root) == []
    builder.run("prune", "--all", "--force")
    builder.run("run", "x", "cat", "/g")
