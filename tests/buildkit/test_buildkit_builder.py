"""`--builder` against a real BuildKit, the one inside dockerd: what it gets and gives back."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import pytest
from support.moby import Moby

pytestmark = pytest.mark.root

SOURCES = Path(__file__).parents[2]
TEXT = """\
FROM {base} AS one
ARG V=1
WORKDIR /w
COPY . .
RUN --mount=type=secret,id=s cp /run/secrets/s /w/s && echo $V > v
FROM scratch
COPY --from=one /w /w
ENV K=v
"""


@pytest.fixture
def context(tmp_path, base):
    folder = tmp_path / "context"
    (folder / "d" / "e").mkdir(parents=True)
    (folder / "d" / "e" / "f").write_text("f")
    (folder / "d" / "link").symlink_to("e/f")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "big").write_bytes(os.urandom(300_000))
    (folder / "no.log").write_text("no")
    (folder / ".dockerignore").write_text("*.log\n")
    (folder / "Dockerfile").write_text(TEXT.format(base=base))
    (tmp_path / "secret").write_text("geheim")
    return folder


def command(moby, context, *flags):
    root = context.parent / "store"
    words = [sys.executable, "-m", "lazybuild", "build", "--root", root, "--progress", "plain"]
    words += ["--builder", f"docker://{moby.socket}", "--network", "none"]
    return [*words, "--secret", f"id=s,src={context.parent / 'secret'}", *flags, context]


def environment(context):
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES), "HOME": str(context.parent)}


def build(moby, context, *flags, check=True):
    done = subprocess.run(
        command(moby, context, *flags),
        env=environment(context),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert not (check and done.returncode), done.stderr[-4000:]
    return done


def test_files_come_back_as_they_went(moby, context):
    out = context.parent / "out"
    build(moby, context, "--build-arg", "V=7", "-o", f"type=local,dest={out}")
    assert (out / "w" / "v").read_text() == "7\n"
    assert (out / "w" / "s").read_text() == "geheim"
    assert (out / "w" / "d" / "e" / "f").read_text() == "f"
    assert (out / "w" / "d" / "link").readlink() == Path("e/f")
    assert (out / "w" / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (out / "w" / "big").read_bytes() == (context / "big").read_bytes()
    assert not (out / "w" / "no.log").exists()


def test_an_image_has_our_config_and_its_digest_is_told(moby, context):
    archive, metadata = context.parent / "image.tar", context.parent / "metadata.json"
    build(moby, context, "-o", f"type=oci,dest={archive}", "--metadata-file", str(metadata))
    with tarfile.open(archive) as tar:
        index = json.load(tar.extractfile("index.json"))
        digest = index["manifests"][0]["digest"]
        manifest = json.load(tar.extractfile("blobs/sha256/" + digest[7:]))
        config = json.load(tar.extractfile("blobs/sha256/" + manifest["config"]["digest"][7:]))
    assert json.loads(metadata.read_text())["containerimage.digest"] == digest
    assert config["config"]["Env"][-1] == "K=v"
    assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"]) == 1


def test_the_image_is_in_that_docker(moby, context):
    build(moby, context, "-t", "remote/made:1")
    found = moby.run("docker", "image", "inspect", "remote/made:1").stdout
    assert "K=v" in json.loads(found)[0]["Config"]["Env"]


def test_pushing(moby, context, registry):
    done = build(moby, context, "-t", f"{registry.host}/pushed:1", "--push")
    assert "pushing manifest" in done.stderr


def test_a_failing_step_is_shown_with_its_lines(moby, context, base):
    (context / "Dockerfile").write_text(f"FROM {base}\nRUN echo out && exit 3\n")
    done = build(moby, context, check=False)
    assert done.returncode == 1
    assert ">>> RUN echo out" in done.stderr
    assert "exit code: 3" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_base_that_is_not_there(moby, context, registry):
    (context / "Dockerfile").write_text(f"ARG A\nFROM {registry.host}/nowhere\nRUN x\n")
    done = build(moby, context, check=False)
    assert done.returncode == 1
    assert ">>> FROM" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_secret_that_was_not_given_is_not_served(moby, context, base):
    text = f"FROM {base}\nRUN --mount=type=secret,id=other,required cat /run/secrets/other\n"
    (context / "Dockerfile").write_text(text)
    done = build(moby, context, check=False)
    assert done.returncode == 1
    assert "other: not found" in done.stderr


def test_a_build_that_is_interrupted_ends(moby, context, base):
    (context / "Dockerfile").write_text(f"FROM {base}\nRUN echo begun && sleep 100\n")
    process = subprocess.Popen(
        command(moby, context), env=environment(context), stderr=subprocess.PIPE, text=True
    )
    with process:
        for line in process.stderr:
            if line.rstrip().endswith(" begun"):
                break
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        process.wait(timeout=20)
    assert process.returncode != 0
    assert time.monotonic() - started < 10


def test_a_daemon_that_dies_is_one_clear_error(context, registry):
    folder = Path(tempfile.mkdtemp(prefix="lazybuild-moby-", dir="/var/tmp"))
    text = f"FROM {registry.host}/base:1\nRUN echo begun && sleep 100\n"
    (context / "Dockerfile").write_text(text)
    said = []
    try:
        with Moby(folder) as mortal:
            words = command(mortal, context)
            with subprocess.Popen(
                words, env=environment(context), stderr=subprocess.PIPE, text=True
            ) as process:
                for line in process.stderr:
                    said.append(line)
                    if line.rstrip().endswith(" begun"):
                        mortal.process.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = "".join(said)
    assert process.returncode == 125, text
    assert "BuildKit went away during the build" in text
    assert "Traceback" not in text
