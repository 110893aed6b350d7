"""The frontend as BuildKit starts it: a process whose standard input and output are the wire."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from support.bridge import Bridge

SOURCES = Path(__file__).parents[3]


def start(target):
    """Run the process to its end, its input and output being a connection to `target`."""
    host, _, port = target.rpartition(":")
    with socket.create_connection((host, int(port))) as wire:
        return subprocess.run(
            [sys.executable, "-m", "frontend"],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES)},
            stdin=wire,
            stdout=wire,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )


def test_a_build_over_pipes():
    own = {"dockerfile": {"Dockerfile": b"FROM scratch\nCOPY a /\n"}}
    with Bridge(own) as bridge:
        process = start(bridge.target)
    assert process.returncode == 0, process.stderr
    assert bridge.result.ref.id


def test_a_failure_over_pipes():
    with Bridge({"dockerfile": {"Dockerfile": b"FRM scratch\n"}}) as bridge:
        process = start(bridge.target)
    assert process.returncode == 1, process.stderr
    assert "unknown instruction" in bridge.error.message


def test_nobody_at_the_other_end():
    here, there = socket.socketpair()
    there.close()
    with here:
        process = subprocess.run(
            [sys.executable, "-m", "frontend"],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES)},
            stdin=here,
            stdout=here,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert process.returncode == 1
    assert b"lazybuild frontend: " in process.stderr
    assert b"Traceback" not in process.stderr


def test_the_first_question_does_not_wait_for_the_compiler():
    code = "import sys, frontend.__main__; print([n for n in sys.modules if 'dockerfile' in n])"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES)}
    words = [sys.executable, "-c", code]
    assert subprocess.check_output(words, env=environment, text=True) == "[]\n"
