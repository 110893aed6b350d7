"""One dockerd, one buildkitd, one registry and one frontend image for all tests of this folder."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.buildkitd import Buildkitd
from support.buildkitd import missing as no_buildkitd
from support.docker_registry import DockerRegistry
from support.moby import Moby, missing
from support.rootfs import make_rootfs

SOURCES = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def moby():
    reason = missing()
    if reason:
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="lazybuild-moby-", dir="/var/tmp"))
    try:
        with Moby(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def buildkitd(moby):
    reason = no_buildkitd()
    if reason:
        pytest.skip(reason)
    with Buildkitd(moby) as running:
        yield running


@pytest.fixture(scope="session")
def registry(tmp_path_factory, moby):
    running = DockerRegistry(tmp_path_factory.mktemp("registry"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def base(moby, registry):
    """An image that has a shell and little else."""
    context = moby.shared / "base"
    make_rootfs(context / "root", ("cp",))
    (context / "Dockerfile").write_text("FROM scratch\nCOPY root /\nENV WHO=base\n")
    name = f"{registry.host}/base:1"
    moby.build(context, "--push", "-t", name)
    return name


@pytest.fixture(scope="session")
def frontend(registry, tmp_path_factory):
    """Our frontend's image, built by lazybuild."""
    if shutil.which("mmdebstrap") is None:
        pytest.skip("not run: no mmdebstrap")
    name = f"{registry.host}/lazybuild-frontend"
    root = tmp_path_factory.mktemp("store")
    done = subprocess.run(
        [SOURCES / "scripts/frontend-image", name, "--root", root, "--push"],
        env={
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(root),
            "PYTHON": sys.executable,
            "XDG_CACHE_HOME": "/var/tmp/lazybuild-test-cache",
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return name
