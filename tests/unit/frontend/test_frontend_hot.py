"""The ordered layer: what is asked for, what the step does to a tree, what the config says."""

import os
import shutil

import pytest
from support.dockerfiles import compiled

from frontend import hot, order, orders
from frontend.tool import Tool
from lazybuild.llb.graph import Edge, Vertex, walk
from lazybuild.llb.ops import ExecOp, FileOp, NetworkMode, SourceOp
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.wire.decode import decode
from lazybuild.wire.encode import encode

TOOL = Tool(
    root=Edge(Vertex(op=SourceOp(identifier="docker-image://me/frontend"))),
    python="/usr/bin/python3",
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


def test_the_graph():
    result = compiled('FROM debian\nRUN make\nENTRYPOINT ["/bin/app"]\nCMD ["x"]\n')
    told = orders.of_image(result.config, {orders.GLOBS: "usr/*, etc/*"})
    head, config = hot.ordered(result.head, result.config, TOOL, told)
    steps = [vertex.op for vertex in walk(head.vertex) if isinstance(vertex.op, ExecOp)]
    assert orders.from_json(steps[-1].meta.args[-1]) == told
    assert told.argv == ("/bin/app", "x")
    assert told.globs == ("usr/*", "etc/*")
    assert steps[-1].network is NetworkMode.NONE
    assert isinstance(head.vertex.op, FileOp)
    assert len(config.history) == len(result.config.history) + 2
    assert decode(encode(head).definition) == head


def test_what_starts_comes_first_and_each_once(root):
    tree = HostTree(root)
    told = orders.Orders(argv=("/bin/app",), globs=("c*", "/data", "bin/*"))
    assert list(orders.wanted(tree, told)) == ["bin/app", "code.py", "cold", "data"]
    seen = ["twice", "bin", "gone", "../out", "way", "cold"]
    found = list(orders.wanted(tree, told, seen))
    assert found == ["twice", "cold", "bin/app", "code.py", "data"]


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
    told = orders.Orders(argv=("/bin/app",), globs=("data",))
    monkeypatch.setattr("sys.argv", ["order", orders.to_json(told)])
    assert order.main() == 0
    assert "2 files put first" in capsys.readouterr().err
