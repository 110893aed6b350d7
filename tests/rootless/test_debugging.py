"""Finding out why a build failed: a shell in the step, a log of everything."""

import base64
import os
import pty
import subprocess
import sys

import pytest
from support import solvestatus
from support.building import Builder

pytestmark = pytest.mark.rootless


FAILING = """\
FROM {base}
ENV WORD=inside
WORKDIR /here
RUN --mount=type=tmpfs,target=/scratch echo made > /made; echo x > /scratch/x; exit 9
"""


def failing(builder, registry):
    return builder.context({"Dockerfile": FAILING.format(base=f"{registry.host}/base:1")})


def typed(builder, context, keys):
    """A build whose standard input is a terminal at which `keys` are typed in the shell."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "lazybuild", "build", "--on-failure=shell", context],
        env=builder.environment, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while b"this is a shell" not in seen:
        piece = process.stderr.readline()
        assert piece, seen.decode()
        seen += piece
    os.write(ours, keys)
    _, rest = process.communicate(timeout=60)
    os.close(ours)
    return process.returncode, (seen + rest).decode()


def test_a_shell_opens_in_the_failed_step(builder, registry):
    keys = b"cat /made; echo $WORD-$(pwd); ls /scratch; echo say-$((40+2)); exit 3\n"
    code, text = typed(builder, failing(builder, registry), keys)
    assert code == 1
    assert "made" in text
    assert "inside-/here" in text
    assert "say-42" in text
    assert "exit code: 9" in text.replace("\r", "")


def test_without_a_terminal_it_just_fails(builder, registry):
    run = builder.build(failing(builder, registry), "--on-failure=shell", expect=1)
    assert "not a terminal" in run.err
    assert "exit code: 9" in run.err


def test_a_log_holds_what_was_not_shown(builder, registry, tmp_path):
    log = tmp_path / "log"
    files = {"Dockerfile": f"FROM {registry.host}/base:1\nRUN echo spoken\n"}
    run = builder.build(files, "-t", "x", "-q", "--logfile", log)
    assert "spoken" not in run.err
    assert " spoken\n" in log.read_text()
    assert "DONE" in log.read_text()
    assert "--logfile" in builder.build(files, "--logfile", tmp_path / "no/log", expect=2).err


def test_an_error_is_an_annotation_on_github(folder, registry):
    builder = Builder(folder / "github", GITHUB_ACTIONS="true")
    files = {
        "Dockerfile": f"FROM {registry.host}/base:1\nRUN echo '::error::forged'; exit 9\n",
    }
    run = builder.build(files, expect=1)
    lines = run.err.splitlines()
    marked = [line for line in lines if line.startswith("::")]
    assert len(marked) == 1
    assert marked[0].startswith("::error file=Dockerfile,line=2::")


def test_rawjson_is_what_buildkits_decoder_takes(registry, builder):
    text = f"FROM {registry.host}/base:1 AS Dev\nRUN echo out; echo err >&2\nCOPY f /f\n"
    run = builder.build({"Dockerfile": text, "f": "text"}, "-t", "x", "--progress=rawjson")
    found = solvestatus.read(run.err)
    ended = {it["digest"]: it for it in found["vertexes"] if it.get("completed")}
    began = {it["digest"]: it for it in found["vertexes"] if it.get("started")}
    assert set(ended) == set(began)
    assert all(it["started"] <= it["completed"] for it in ended.values())
    assert {part for it in ended.values() for part in it.get("inputs", ())} <= set(ended)
    said = {it["stream"]: base64.b64decode(it["data"]) for it in found["logs"]}
    assert said == {1: b"out\n", 2: b"err\n"}
    assert {it["vertex"] for it in found["logs"]} <= set(ended)
    (warning,) = found["warnings"]
    assert b"Stage name" in base64.b64decode(warning["short"])
    assert warning["range"][0]["start"]["line"] == 1
