"""The ordered layer: what is asked for, what the step does to a tree, what the config says."""

import json
import os
import shutil

import pytest
from support.dockerfiles import compiled

from frontend import hot, order
from lazybuild.errors import UsageError
from lazybuild.llb.graph import Edge, Vertex, walk
from lazybuild.llb.ops import ExecOp, FileOp, NetworkMode, SourceOp
from lazybuild.snapshots.closure import Start
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.wire.decode import decode
from lazybuild.wire.encode import encode

TOOL = hot.Tool(
    root=Edge(Vertex(op=SourceOp(identifier="docker-image://me/frontend"))),
    argv=("/usr/bin/python3", "-m", "frontend.order"),
    env=("PYTHONPATH=/opt/app",),
)
OLD = 1_600_000_000


@pytest.fixture
def root(tmp_path):
    place = tmp_path / "image"
    (place / "bin").mkdir(parents=True)
    shutil.copy("/bin/true", place / "bin" / "app")
    (place / "data").write_text("data")
    (place / "cold").write_text("cold")
    (place / "code.py").write_text("x = 1\n")
    (place / "twice").write_text("t")
    (place / "again").hardlink_to(place / "twice")
    (place / "way").symlink_to("data")
    (place / "data").chmod(0o640)
    for path in (*place.rglob("*"), place):
        os.utime(path, (OLD, OLD), follow_symlinks=False)
    return place


def test_only_what_is_known_can_be_asked_for():
    assert not hot.wanted({})
    assert not hot.wanted({hot.MODE: "plain"})
    assert hot.wanted({hot.MODE: "hot"})
    with pytest.raises(UsageError, match="exact"):
        hot.wanted({hot.MODE: "exact"})


def test_the_graph():
    result = compiled('FROM debian\nRUN make\nENTRYPOINT ["/bin/app"]\nCMD ["x"]\n')
    head, config = hot.ordered(result.head, result.config, TOOL, {hot.GLOBS: "usr/*, etc/*"})
    steps = [vertex.op for vertex in walk(head.vertex) if isinstance(vertex.op, ExecOp)]
    orders = json.loads(steps[-1].meta.args[-1])
    assert orders["argv"] == ["/bin/app", "x"]
    assert orders["globs"] == ["usr/*", "etc/*"]
    assert steps[-1].network is NetworkMode.NONE
    assert isinstance(head.vertex.op, FileOp)
    assert len(config.history) == len(result.config.history) + 2
    assert decode(encode(head).definition) == head


def test_what_starts_comes_first_and_each_once(root):
    tree = HostTree(root)
    start = Start(argv=("/bin/app",), env=(), cwd="/")
    found = list(order.wanted(tree, start, ["c*", "/data", "bin/*"]))
    assert found == ["bin/app", "code.py", "cold", "data"]


def test_files_become_links_to_their_copies(root):
    count = order.put_first(root, ["bin/app", "data"])
    assert count == 2
    first = sorted((root / hot.FIRST).iterdir())
    assert [path.name for path in first] == ["00001", "00002"]
    assert (root / "data").samefile(first[1])
    assert (root / "data").read_text() == "data"
    status = (root / "data").stat()
    assert status.st_mode & 0o777 == 0o640
    assert status.st_mtime == OLD + 1
    assert (root / hot.LANDMARK).read_bytes() == order.CONTENT
    assert root.stat().st_mtime == (root / "bin").stat().st_mtime == OLD


def test_what_must_stay_stays(root):
    assert order.put_first(root, ["twice", "code.py", "way", "bin"]) == 0
    assert (root / "twice").samefile(root / "again")
    assert (root / "code.py").stat().st_mtime == OLD
    assert (root / "way").is_symlink()


def test_the_marks_sort_before_everything_that_has_a_name():
    names = [hot.FIRST, hot.LANDMARK, "bin", "Data", "0"]
    assert sorted(names)[:2] == [hot.FIRST, hot.LANDMARK]


def test_the_program(root, monkeypatch, capsys):
    monkeypatch.setattr(order, "IMAGE", str(root))
    orders = {"argv": ["/bin/app"], "env": [], "cwd": "/", "globs": ["data"]}
    monkeypatch.setattr("sys.argv", ["order", json.dumps(orders)])
    assert order.main() == 0
    assert "2 files put first" in capsys.readouterr().err
