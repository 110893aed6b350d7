"""The same Dockerfile built here and with `--builder` on each BuildKit there is: the same image."""

import pytest
from support.building import Builder
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
    network = "none" if builder.startswith("docker") else "default"
    words = ["--builder", builder, "-f", dockerfile, "--network", network]
    Builder(tmp_path).run("build", *words, "-o", f"type=oci,dest={target}", context)
    assert image(target) == image(lazybuild(context, "-f", str(dockerfile), "-t", "here"))
