"""What is generated is what `make protos` would generate now."""

import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parents[3]


def test_the_stubs_are_current():
    run = subprocess.run(
        [sys.executable, SOURCES / "scripts/protos", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
