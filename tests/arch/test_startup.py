"""`--help` is quick because it loads next to nothing, a cached build because it loads little."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lazybuild.cli.verbs import VERBS

SOURCES = Path(__file__).parent.parent.parent
HEAVY = re.compile(
    r"lazybuild\.(registry|snapshots|store|build|executor|estargz|solver|sources|wire)"
    r"|lazybuild\.dockerfile\.(?!excerpt)"
    r"|urllib3|sqlite3|_sqlite3|rich|google\.protobuf|grpc|msgspec|isal|deflate|zstandard|yaml"
    r"|ssl|http|asyncio|concurrent"
)
BUDGET = 0.1

# What a build that finds everything in the cache may load of the rooms that it has no work for.
LITTLE = {
    "bridge": set(),
    "cli.report": set(),
    "executor": {"host"},
    "exporters": {"attestation", "base"},
    "registry": {"config", "redact"},
    "remote": set(),
    "snapshots.lazyfs": {"blobmap", "fetchlog", "messages", "trace"},
    "sources": {"archives", "attrs", "images", "local", "transports"},
    "wire": set(),
    "worker": {"facts", "keys", "records", "secrets", "services", "sources", "worker"},
}
NOT_OF_BUILD = {
    "attest", "bridged", "cache_mounts", "checkup", "container", "convert", "external", "library",
    "outputs", "rebased", "remotely", "reorder", "shared_profiles", "shelf", "transfer", "wanted",
}  # fmt: skip
NO_LIBRARY = re.compile(
    r"(urllib3|rich|google|grpc|isal|zstandard|yaml|ssl|_ssl|http|email|asyncio)(\.|$)"
)


def start(
    *flags: str, words: Sequence[str] = ("--help",), home: str = "/"
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *flags, "-m", "lazybuild", *words],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES), "HOME": home},
        capture_output=True,
        text=True,
        check=True,
    )


def loaded(words: Sequence[str] = ("--help",), home: str = "/") -> set[str]:
    lines = start("-X", "importtime", words=words, home=home).stderr.splitlines()
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


def test_help_loads_no_engine_and_no_library_but_click():
    names = loaded()
    assert "lazybuild.cli.main" in names
    assert not sorted(name for name in names if HEAVY.match(name))


def test_a_cached_build_loads_no_room_that_it_has_no_work_for(tmp_path):
    context = tmp_path / "context"
    context.mkdir()
    (context / "file").write_text("content")
    (context / "Dockerfile").write_text(
        "FROM scratch AS one\nCOPY file /\nFROM scratch\nCOPY --from=one /file /\nENV A=1\n"
    )
    words = ("build", "--root", str(tmp_path / "store"), "-t", "x", str(context))
    start(words=words, home=str(tmp_path))
    names = loaded(words, str(tmp_path))
    assert "lazybuild.build.run" in names
    for room, few in LITTLE.items():
        inside = {name.removeprefix(f"lazybuild.{room}.") for name in names if f".{room}." in name}
        assert sorted(inside - few) == [], room
    assert sorted(name for name in NOT_OF_BUILD if f"lazybuild.build.{name}" in names) == []
    assert sorted(name for name in names if NO_LIBRARY.match(name)) == []


def test_no_time_goes_into_what_the_end_of_the_process_frees_anyway():
    """At its own end the interpreter would look for cycles among all that is loaded."""
    said = "import atexit; atexit.register(print, 'an orderly end')"
    run = "from lazybuild.cli.main import main; main(['--help'])"
    told = subprocess.run(
        [sys.executable, "-c", f"{said}; {run}"],
        env={"PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Usage" in told.stdout
    assert "an orderly end" not in told.stdout


def test_help_takes_less_than_a_tenth_of_a_second():
    """The best of some tries, of the processor's time: other work on the machine is no fault."""

    def once() -> float:
        before = os.times()
        start()
        after = os.times()
        used = after.children_user - before.children_user
        return used + after.children_system - before.children_system

    assert min(once() for _ in range(5)) <= BUDGET


def test_help_names_every_verb():
    text = start().stdout
    verbs = {path.stem for path in (SOURCES / "lazybuild/cli").glob("*.py")}
    assert set(VERBS) <= verbs
    assert all(re.search(rf"^  {verb} ", text, re.MULTILINE) for verb in VERBS)


def test_a_clock_runs():
    """The measure above measures."""
    before = time.process_time()
    sum(range(200_000))
    assert time.process_time() > before
