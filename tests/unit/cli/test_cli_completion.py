"""What shells are given, and what they are told when they ask."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lazybuild.cli.completion import SHELLS

SOURCES = Path(__file__).parent.parent.parent.parent


def run(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "lazybuild", *words],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES), **environment},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_its_own(shell):
    text = run("completion", shell)
    assert f"_LAZYBUILD_COMPLETE={shell}_complete" in text
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True)


def asked(words, place):
    return run(_LAZYBUILD_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(place))


def test_verbs_and_flags_are_completed():
    assert "plain,build" in asked("lazybuild b", 1)
    flags = asked("lazybuild build --cache-", 2)
    assert "plain,--cache-from" in flags
    assert "plain,--cache-to" in flags
    assert "tty" in asked("lazybuild build --progress t", 3)
