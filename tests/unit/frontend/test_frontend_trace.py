"""Steps that are watched: how they are asked for, and what the tracer sees and passes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.dockerfiles import compiled

from frontend import seen, trace, tracer
from frontend.arrange import installed
from frontend.layers import stack
from frontend.tool import Tool
from lazybuild.llb.graph import Edge, Vertex, walk
from lazybuild.llb.ops import ExecOp, SourceOp
from lazybuild.wire.decode import decode
from lazybuild.wire.encode import encode

SOURCES = Path(__file__).parents[3]
TOOL = Tool(
    root=Edge(Vertex(op=SourceOp(identifier="docker-image://me/frontend"))),
    python="/usr/bin/python3.11",
    app="/opt/app",
    loader="/lib/ld.so",
    libraries=("/lib/x", "/usr/lib/x"),
)
TEXT = """\
FROM debian AS other
RUN elsewhere
FROM debian AS a
RUN one
FROM a
RUN --mount=type=bind,from=a,target=/a two
COPY --from=other /x /
COPY --from=a /y /
"""


def steps(head):
    """The command that each step of a graph ends with, and the step."""
    found = (v for v in walk(head.vertex) if isinstance(v.op, ExecOp))
    return {vertex.op.meta.args[-1]: vertex for vertex in found}


def test_steps_that_made_the_result_are_watched():
    head = compiled(TEXT).head
    fresh, traces = trace.watched(head, TOOL, is_sorted=True)
    found = steps(fresh)
    assert sorted(found) == ["elsewhere", "one", "two"]
    assert found["elsewhere"].op.meta.args == ("/bin/sh", "-c", "elsewhere")
    one = found["one"]
    assert one.op.meta.args[:4] == (
        "/dev/.lazybuild/image/lib/ld.so",
        "--library-path",
        "/dev/.lazybuild/image/lib/x:/dev/.lazybuild/image/usr/lib/x",
        "/dev/.lazybuild/image/usr/bin/python3.11",
    )
    assert one.op.meta.args[-6:] == (
        "/dev/.lazybuild/seen/seen",
        "sorted",
        "--",
        "/bin/sh",
        "-c",
        "one",
    )
    assert [edge.vertex for edge in traces] == [one, found["two"]]
    assert {edge.index for edge in traces} == {1}
    mount = one.op.mounts[-2]
    assert (mount.dest, mount.readonly) == ("/dev/.lazybuild/image", True)
    assert one.inputs[mount.input] == TOOL.root
    assert decode(encode(fresh).definition) == fresh


def test_each_step_is_there_once():
    """A stage that is copied from as well as built on is not built twice."""
    fresh, _ = trace.watched(compiled(TEXT).head, TOOL, is_sorted=False)
    count = sum(isinstance(vertex.op, ExecOp) for vertex in walk(fresh.vertex))
    assert count == 3
    assert len(stack(fresh).tops) == len(stack(compiled(TEXT).head).tops)


def test_what_is_known_of_a_step_stays():
    before = steps(compiled(TEXT).head)["one"]
    after = steps(trace.watched(compiled(TEXT).head, TOOL, is_sorted=False)[0])["one"]
    assert after.options == before.options
    assert after.op.meta.env == before.op.meta.env
    assert after.op.mounts[:-2] == before.op.mounts


# --- the tracer ----------------------------------------------------------------------------------


def test_a_file_system_of_its_own_is_not_entered():
    assert Path("/dev/pts").is_mount()
    found = list(tracer.directories(b"/dev"))
    assert b"/dev" in found
    assert b"/dev/pts" not in found


def ended(*command):
    """The tracer as a step runs it, over a directory that it is shown as the root."""
    start = (
        f"import sys; sys.path.insert(0, {str(SOURCES)!r});"
        " from frontend import tracer; tracer.directories = lambda root: [b'/etc'];"
        " sys.exit(tracer.main())"
    )
    return [sys.executable, "-I", "-S", "-c", start, *command]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["sh", "-c", "exit 3"], 3),
        (["true"], 0),
        (["sh", "-c", "kill -9 $$"], 137),
        (["no-such-program"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_the_commands_end_is_the_steps(tmp_path, command, code):
    words = ended(str(tmp_path), "seen", "--", *command)
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert (tmp_path / "opens").exists()


def test_the_command_runs_as_without(tmp_path):
    """With its environment, its standard streams, and no signal ignored."""
    text = "echo $A; cat; trap '' TERM; grep SigIgn /proc/$$/status"
    words = ended(str(tmp_path), "sorted", "--", "sh", "-c", text)
    plain = ["sh", "-c", text]
    runs = [
        subprocess.run(
            each,
            input="in\n",
            env={"A": "b", "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for each in (words, plain)
    ]
    assert runs[0] == runs[1]


def test_notes_that_cannot_be_left_harm_nothing(tmp_path):
    words = ended(str(tmp_path / "nowhere"), "seen", "--", "true")
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "can't be noted: No such file or directory" in done.stderr


def test_notes_are_read_back(tmp_path):
    for number, data in enumerate((b"a\0b/c\0", b"\xff\0cut")):
        folder = tmp_path / str(number) / "seen"
        folder.mkdir(parents=True)
        (folder / "opens").write_bytes(data)
    (tmp_path / "2").mkdir()
    assert seen.seen_in(tmp_path) == ["a", "b/c", "\udcff"]
    assert seen.seen_in(tmp_path / "none") == []


def test_how_this_program_is_started_elsewhere():
    """The loader, the interpreter and the libraries of where this runs."""
    tool = installed(TOOL.root, ())
    words = tool.tracer("")
    done = subprocess.run(
        [*words[:-1], "import sys; print(sys.flags.isolated)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "1\n", done.stderr
    assert Path(tool.app, "frontend", "tracer.py").exists()
