"""Arrows point down only: pyproject.toml says which, import-linter looks."""

import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent.parent.parent


def test_the_rooms_import_downwards_only():
    run = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=SOURCES,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
