"""`python -m lazybuild.dockerfile`, as a program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "lazybuild.dockerfile", *arguments],
        capture_output=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "LC_ALL": "C"},
    )


def test_dump(tmp_path):
    file = tmp_path / "Dockerfile"
    file.write_bytes("\ufefffrom a\r\nrun --x=y <<é\nbody\né\nnothing x\n".encode())
    result = run("dump", str(file))
    assert result.returncode == 0
    assert result.stdout.decode() == '(from "a")\n(run ["--x=y"] "<<é")\n(nothing "")\n'


def test_dump_of_what_can_not_be_read(tmp_path):
    file = tmp_path / "Dockerfile"
    file.write_text('from a\ncmd ["x", 1]\n')
    result = run("dump", str(file))
    assert result.returncode == 1
    assert result.stdout == b""
    assert result.stderr.decode().startswith(f"{file}:2: when using JSON array syntax")
    assert run("dump", str(tmp_path / "none")).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "status", "output"),
    [
        (["expand", "${A:-x}-$é", "é=한=국"], 0, "x-한=국\n"),
        (["expand", ""], 0, "\n"),
        (["expand", "${A?gone}"], 1, ""),
        (["words", "a '$A' $A", "A=x y"], 0, "a\n$A\nx\ny\n"),
        (["words", "'a"], 1, ""),
        (["expand"], 2, ""),
        ([], 2, ""),
    ],
)
def test_expand_and_words(arguments, status, output):
    result = run(*arguments)
    assert result.returncode == status
    assert result.stdout.decode() == output
    assert bool(result.stderr) == bool(status)
