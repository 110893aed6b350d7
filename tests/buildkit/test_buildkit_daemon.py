"""`--builder unix://` against a buildkitd of its own, where there is one on PATH."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

SOURCES = Path(__file__).parents[2]
BUILDKITD = shutil.which("buildkitd")


@pytest.fixture
def address(tmp_path):
    if BUILDKITD is None:
        pytest.skip("not run: no buildkitd on PATH")
    socket = tmp_path / "b.sock"
    words = [BUILDKITD, "--addr", f"unix://{socket}", "--root", str(tmp_path / "root")]
    words += ["--oci-worker=true", "--containerd-worker=false", "--oci-worker-net=host"]
    with (tmp_path / "log").open("wb") as log:
        daemon = subprocess.Popen(words, stdout=log, stderr=log)
    end = time.monotonic() + 30
    while not socket.exists():
        assert time.monotonic() < end, (tmp_path / "log").read_text()[-2000:]
        time.sleep(0.1)
    yield f"unix://{socket}"
    daemon.terminate()
    daemon.wait(timeout=20)


def test_files_go_and_come_back(address, tmp_path):
    context = tmp_path / "context"
    context.mkdir()
    (context / "a").write_text("a")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . /x/\nCOPY <<E /y\nhello\nE\n")
    out = tmp_path / "out"
    words = [sys.executable, "-m", "lazybuild", "build", "--root", tmp_path / "store"]
    words += ["--builder", address, "-o", f"type=local,dest={out}", context]
    done = subprocess.run(
        words,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (out / "x" / "a").read_text() == "a"
    assert (out / "y").read_text() == "hello\n"
