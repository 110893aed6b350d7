"""The same Dockerfile built here and with `--builder` on each BuildKit there is: the same image."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_buildkit_differential import (
    CASES,
    context,
    git,
    http,
    image,
    lazybuild,
    placed,
)

__all__ = ["context", "git", "http", "lazybuild", "placed"]

pytestmark = pytest.mark.root

SOURCES = Path(__file__).parents[2]
NAMES = ["copy-all", "copy-from-keeps", "parallel", "run-modes", "run-replace-dir", "workdir-user"]


@pytest.fixture(params=["moby", "buildkitd"])
def builder(request):
    """The address of a daemon."""
    daemon = request.getfixturevalue(request.param)
    kind = "docker" if request.param == "moby" else "unix"
    return f"{kind}://{daemon.socket}"


@pytest.fixture(params=NAMES)
def dockerfile(request, context, placed):
    """One of the cases, in the context that they all have."""
    path = context / f"Dockerfile.{request.param}"
    path.write_bytes(placed((CASES / request.param / "Dockerfile").read_bytes()))
    return path


def test_the_same_image_as_here(lazybuild, dockerfile, builder, tmp_path):
    context, target = dockerfile.parent, tmp_path / "there.tar"
    words = ["build", "--root", tmp_path / "store", "--builder", builder, "-f", dockerfile]
    words += ["--network", "none" if builder.startswith("docker") else "default"]
    done = subprocess.run(
        [sys.executable, "-m", "lazybuild", *words, "-o", f"type=oci,dest={target}", context],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert image(target) == image(lazybuild(context, "-f", str(dockerfile), "-t", "here"))
