"""What hosts do to a builder: foreign stores, closed outputs, hanging helpers, kills, crowds."""

import json
import os
import signal
import stat
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.building import Builder, settled
from support.soak import damage

from lazybuild.store import Store

pytestmark = pytest.mark.rootless


def plain(text="text"):
    return {"Dockerfile": "FROM scratch\nCOPY f /f\n", "f": text}


# --- the store -----------------------------------------------------------------------------------


def test_a_store_of_a_newer_version_is_refused_and_not_touched(builder):
    builder.build(plain(), "-t", "x")
    version = builder.root / "version"
    version.write_text("99\n")
    before = sorted(path.name for path in builder.root.iterdir())
    run = builder.build(plain(), "-t", "y", expect=None)
    assert run.code not in {0, 1}
    assert "newer" in run.err
    assert "Traceback" not in run.err
    assert "fix" in builder.run("doctor", expect=1).out
    assert sorted(path.name for path in builder.root.iterdir()) == before
    assert version.read_text() == "99\n"


def test_a_store_that_may_not_be_written_is_one_line(builder):
    builder.root.mkdir(mode=0o500)
    run = builder.build(plain(), "-t", "x", expect=None)
    assert run.code not in {0, 1}
    assert str(builder.root) in run.err
    assert "Traceback" not in run.err
    builder.root.chmod(0o700)
    builder.build(plain(), "-t", "x")


def test_a_store_that_is_a_file_is_one_line(builder):
    builder.root.write_text("no store")
    run = builder.build(plain(), "-t", "x", expect=None)
    assert run.code not in {0, 1}
    assert "Traceback" not in run.err
    assert builder.root.read_text() == "no store"


# --- outputs that close --------------------------------------------------------------------------


@pytest.mark.parametrize("streams", ["stdout", "stderr", "both", "pipe"])
def test_a_build_goes_on_without_anyone_who_listens(builder, base, streams):
    files = {"Dockerfile": f"FROM {base}\nRUN for i in 1 2 3 4 5 6 7 8 9; do echo $i; done\n"}
    context = builder.context(files)
    closing = {"stdout": ">&-", "stderr": "2>&-", "both": ">&- 2>&-", "pipe": "2>&1 | true"}
    script = f'"$0" -m lazybuild build -t heard {context} {closing[streams]}'
    run = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script, os.sys.executable],
        env=builder.environment, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "heard" in builder.run("images").out


# --- helpers and kills ---------------------------------------------------------------------------


def test_a_helper_that_fails_is_named_with_a_remedy(builder, base, tmp_path):
    fake = tmp_path / "bin"
    fake.mkdir()
    helper = fake / "newuidmap"
    helper.write_text("#!/bin/sh\necho no range here >&2; exit 1\n")
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    builder.environment["PATH"] = f"{fake}:{os.environ['PATH']}"
    run = builder.build({"Dockerfile": f"FROM {base}\nRUN echo a\n"}, "-t", "x", expect=None)
    assert run.code not in {0, 1}
    assert "no range here" in run.err
    assert "/etc/subuid" in run.err
    assert "Traceback" not in run.err


def test_a_killed_step_is_said_to_be_out_of_memory_perhaps(builder, base):
    files = {"Dockerfile": f"FROM {base}\nRUN echo big; kill -9 $$\n"}
    run = builder.build(files, expect=1)
    assert "137" in run.err
    assert "memory" in run.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_obeyed_though_the_step_is_deaf(builder, base, number):
    deaf = "trap '' INT TERM HUP; echo running; while :; do sleep 1; done"
    process = builder.started({"Dockerfile": f"FROM {base}\nRUN {deaf}\n"}, until="running")
    begun = time.monotonic()
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert time.monotonic() - begun < 10
    assert settled(builder.leftovers) == []


def test_a_step_that_leaves_a_daemon_with_its_output_ends(builder, base):
    text = f"FROM {base}\nRUN (trap '' HUP TERM; sleep 100) & echo started\n"
    begun = time.monotonic()
    builder.build({"Dockerfile": text}, "-t", "x")
    assert time.monotonic() - begun < 20


def test_a_step_that_kills_everyone_kills_itself_only(builder, base):
    text = f"FROM {base}\nRUN echo here; kill -9 -1; echo still > /made\n"
    run = builder.build({"Dockerfile": text}, "-t", "x", expect=None)
    assert run.code in {0, 1}
    assert "Traceback" not in run.err
    builder.build({"Dockerfile": f"FROM {base}\nRUN echo two\n"}, "-t", "x")


# --- crowds --------------------------------------------------------------------------------------


def test_twenty_builds_at_once_share_one_store(builder, base):
    """Ten of one kind and ten of another: as if each had been alone, and nothing in excess."""
    text = f"FROM {base}\nRUN echo shared > /shared\nCOPY f /f\nRUN cat /f /shared > /both\n"
    flags = ("--source-date-epoch", "1700000000")
    contexts = [builder.context({"Dockerfile": text, "f": str(n)}) for n in range(2)]
    running = [
        builder.start("build", "-q", *flags, "-t", f"crowd:{number}", contexts[number % 2])
        for number in range(20)
    ]
    ended = [(*process.communicate(timeout=200), process.returncode) for process in running]
    assert [code for _, _, code in ended] == [0] * 20, ended
    digests = [out for out, _, _ in ended]
    alone = Builder(builder.folder / "alone")
    serial = [alone.run("build", "-q", *flags, "-t", "x", it).out.encode() for it in contexts]
    assert digests == serial * 10
    listed = builder.run("images").out.split()
    assert {f"crowd:{number}" for number in range(20)} <= set(listed)
    assert damage(builder.root) == []
    assert [path.name for path in (builder.root / "tmp").iterdir()] == []


def make_twin(root: Path) -> None:
    """As if another build had made the same top layer in the same moment, as one of its own."""
    with Store(root) as store:
        (top,) = (use.layer for use in store.meta.layers() if not use.layer.origins)
        store.meta.put_layer(replace(top, ordered=False))
        store.meta.put_layer(replace(top, id="0", ordered=False))


def test_uses_count_for_the_layer_of_the_build_not_for_its_twin(builder, base):
    text = f"FROM {base}\nCOPY used other /\n"
    context = builder.context({"Dockerfile": text, "used": "1", "other": "2"})
    builder.build(context, "-t", "x")
    make_twin(builder.root)
    (context / "Dockerfile").write_text(text + "RUN cat /used > /both\n")
    builder.build(context, "-t", "x")
    layers = json.loads(builder.run("inspect", "x", "--json").out)["layers"]
    assert layers[-2]["prefetch"]["files"] == ["used"]


def test_a_builder_without_home_or_name_finds_a_place(builder):
    for name in ("HOME", "LAZYBUILD_ROOT"):
        del builder.environment[name]
    builder.environment["XDG_RUNTIME_DIR"] = "/proc/none"
    run = builder.run("doctor", "--json", expect=None)
    assert run.code in {0, 1}
    assert "Traceback" not in run.err
    assert Path("/var/tmp").is_dir()
