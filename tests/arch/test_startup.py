"""`lazybuild --help` is quick because it loads next to nothing."""

import os
import re
import subprocess
import sys
import time
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


def start(*flags: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *flags, "-m", "lazybuild", "--help"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=True,
    )


def loaded() -> set[str]:
    lines = start("-X", "importtime").stderr.splitlines()
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


def test_help_loads_no_engine_and_no_library_but_click():
    names = loaded()
    assert "lazybuild.cli.main" in names
    assert not sorted(name for name in names if HEAVY.match(name))


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
