"""What the frontend of a current BuildKit has and dockerd's has not, compared in the same way.

Runs where there is a buildkitd on PATH. COPY --parents is in BuildKits built with it, and in the
frontend's own images since 1.20.
"""

from pathlib import Path

import pytest
from test_buildkit_differential import (
    context,
    git,
    http,
    image,
    lazybuild,
    placed,
)

__all__ = ["context", "git", "http", "lazybuild", "placed"]

pytestmark = pytest.mark.root

CASES = Path(__file__).parents[2] / "testdata" / "current"
NAMES = sorted(path.name for path in CASES.iterdir())


@pytest.fixture
def written(context, placed):
    """Puts a case's Dockerfile into the context."""

    def write(name):
        text = placed((CASES / name / "Dockerfile").read_bytes())
        (context / f"Dockerfile.{name}").write_bytes(text)
        return context

    return write


@pytest.mark.parametrize("name", NAMES)
def test_the_same_image(moby, buildkitd, lazybuild, written, name):
    context = written(name)
    dockerfile = context / f"Dockerfile.{name}"
    target = moby.shared / f"{name}.tar"
    flags = ("--builder", buildkitd.name, "--network", "default", "-f", moby.there(dockerfile))
    output = ("--output", f"type=oci,dest={moby.there(target)}")
    done = moby.build(context, *flags, *output, check=False)
    if "unknown flag" in done.stderr:
        pytest.skip(f"not run: this BuildKit has no {name.removeprefix('copy-')}")
    assert done.returncode == 0, done.stderr
    ours, theirs = image(lazybuild(context, "-f", str(dockerfile), "-t", name)), image(target)
    assert ours == theirs
