"""A bake on BuildKits: spread over those that are there, ended by the first failure."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from support.moby import Moby

pytestmark = pytest.mark.root

SOURCES = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def second():
    """Another daemon; the last test kills it."""
    folder = Path(tempfile.mkdtemp(prefix="lazybuild-moby-", dir="/var/tmp"))
    with Moby(folder) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bake(tmp_path):
    return Bake(tmp_path)


class Bake:
    """A bake file with a directory for each target, and the command over it."""

    def __init__(self, folder):
        self.folder = folder
        self.switch = folder / "switch"
        self.targets = {}

    def target(self, name, text, **fields):
        (self.folder / name).mkdir()
        (self.folder / name / "Dockerfile").write_text(text)
        (self.folder / name / "file").write_text(name)
        tags = [f"baked/{name}:1"]
        self.targets[name] = {"context": str(self.folder / name), "tags": tags, **fields}

    def start(self, *daemons):
        file = self.folder / "docker-bake.json"
        file.write_text(json.dumps({"target": self.targets}))
        words = [sys.executable, "-m", "lazybuild", "bake", "-f", file, "--progress", "plain"]
        for daemon in daemons:
            words += ["--builder", f"docker://{daemon.socket}"]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES)}
        return subprocess.Popen(
            words,
            env={**environment, "HOME": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *daemons, code=0):
        process = self.start(*daemons)
        said = process.communicate(timeout=120)[0]
        assert process.returncode == code, said[-4000:]
        return said


def images(daemon):
    listed = daemon.run("docker", "image", "ls", "--format", "{{.Repository}}").stdout
    return {name for name in listed.split() if name.startswith("baked/")}


def test_linked_targets_share_a_graph_and_contexts_stay_apart(bake, moby):
    bake.target("lib", "FROM scratch\nCOPY file /lib\nENV WORD=lib\nCMD x\n")
    text = "FROM lib\nCOPY file /app\n"
    bake.target("app", text, contexts={"lib": "target:lib"}, output=[])
    said = bake.run(moby)
    assert "[app internal] load build definition" in said
    assert said.count("JSONArgsRecommended") == 1
    out = bake.folder / "out"
    bake.targets["app"]["output"] = [f"type=local,dest={out}"]
    bake.run(moby)
    assert ((out / "lib").read_text(), (out / "app").read_text()) == ("lib", "app")
    config = json.loads(moby.run("docker", "image", "inspect", "baked/app:1").stdout)[0]["Config"]
    assert "WORD=lib" in config["Env"]


def test_the_first_failure_ends_the_others(bake, moby, base):
    bake.target("slow", f"FROM {base}\nRUN --network=none sleep 100\n")
    bake.target("bad", f"FROM {base}\nRUN --network=none sleep 1; exit 3\n")
    started = time.monotonic()
    said = bake.run(moby, code=1)
    assert time.monotonic() - started < 60
    assert "ERROR: target bad: " in said
    assert "bad/Dockerfile:2" in said
    assert "Traceback" not in said


def test_targets_are_spread_over_the_builders(bake, moby, second):
    for name in ("one", "two"):
        bake.target(name, "FROM scratch\nCOPY file /\n")
    bake.run(moby, second)
    assert images(moby) & {"baked/one", "baked/two"} == {"baked/one"}
    assert images(second) == {"baked/two"}


def test_targets_with_a_stage_in_common_are_built_where_it_is(bake, moby, second, base):
    stage = "RUN --network=none echo 1\nRUN --network=none echo 2\nRUN --network=none echo 3\n"
    for name, image in (("a", base), ("b", base), ("c", "scratch"), ("d", "scratch")):
        steps = "WORKDIR /1\nWORKDIR /2\nWORKDIR /3\n" if image == "scratch" else stage
        bake.target(f"share{name}", f"FROM {image} AS common\n{steps}FROM common\nCOPY file /\n")
    bake.run(moby, second)
    found = {name for name in images(moby) | images(second) if name.startswith("baked/share")}
    assert found & images(moby) == {"baked/sharea", "baked/shareb"}
    assert found & images(second) == {"baked/sharec", "baked/shared"}


def test_a_builder_that_dies_leaves_its_work_to_the_others(bake, moby, second, base):
    bake.switch.write_text("wait")
    text = (
        f"FROM {base}\nRUN --network=none --mount=type=secret,id=switch"
        " echo begun; read how < /run/secrets/switch; test $how = go || sleep 100\n"
    )
    bake.target("other", "FROM scratch\nCOPY file /\n")
    bake.target("moved", text, secret=[f"id=switch,src={bake.switch}"])
    said = []
    with bake.start(moby, second) as process:
        for line in process.stdout:
            said.append(line)
            if line.rstrip().endswith(" begun") and second.process.poll() is None:
                bake.switch.write_text("go")
                second.process.kill()
                second.process.wait()
    text = "".join(said)
    assert process.returncode == 0, text
    assert text.count(f"WARNING: docker://{second.socket}: BuildKit went away") == 1
    assert "its builds go to the other builders" in text
    assert "baked/moved" in images(moby)
    again = bake.run(second, moby)
    assert f"WARNING: no dockerd at {second.socket}" in again
