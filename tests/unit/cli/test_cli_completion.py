"""What shells are given, and what they are told when they ask."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
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


# --- in the shells themselves --------------------------------------------------------------------


@pytest.fixture
def program(tmp_path):
    """The environment of a user who has `lazybuild` on the PATH."""
    place = tmp_path / "bin" / "lazybuild"
    place.parent.mkdir()
    place.write_text(f'#!/bin/sh\nexec {sys.executable} -m lazybuild "$@"\n')
    place.chmod(0o755)
    path = f"{place.parent}:{os.environ['PATH']}"
    return {"PATH": path, "PYTHONPATH": str(SOURCES), "HOME": str(tmp_path), "TERM": "dumb"}


def need(shell):
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")


def said(environment, *command):
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_bash_completes(program):
    script = (
        'eval "$(lazybuild completion bash)"; complete -p lazybuild;'
        " COMP_WORDS=(lazybuild build --cache-f); COMP_CWORD=2; _lazybuild_completion lazybuild;"
        ' echo "reply ${COMPREPLY[*]}"'
    )
    assert "reply --cache-from" in said(program, "bash", "-c", script)


def test_fish_completes(program):
    need("fish")
    script = (
        "lazybuild completion fish | source; complete -C 'lazybuild bu';"
        " complete -C 'lazybuild build --cache-f'"
    )
    found = said(program, "fish", "--no-config", "-c", script)
    assert "build" in found
    assert "--cache-from" in found


def test_zsh_completes(program):
    """Only at a terminal, so it gets one."""
    need("zsh")
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"], env=program, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        setup = (
            "autoload -U compinit; compinit -u -D; source <(lazybuild completion zsh); echo re''ady"
        )
        os.write(ours, setup.encode() + b"\n")
        shown = until(ours, b"ready\r")
        os.write(ours, b"lazybuild build --cache-fr\t")
        assert b"--cache-from" in until(ours, b"--cache-from"), shown
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)


def until(terminal, wanted, seconds=20.0):
    seen, end = b"", time.monotonic() + seconds
    while wanted not in seen and time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 4096)
    return seen
