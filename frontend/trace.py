"""Has the RUN steps of a result watched: what they open is what a later start will want. Pure.

Each step that made a layer of the result runs below a small program of ours (`tracer`), which lies
in our own image, mounted into the step below /dev, where no layer looks. It leaves the names in a
second output of the step. The steps have other cache keys then, and run again when that begins.
"""

from collections.abc import Mapping
from dataclasses import replace

from frontend.layers import stack
from frontend.tool import Tool
from lazybuild.llb.graph import Edge, Vertex, walk
from lazybuild.llb.ops import CopyAction, ExecOp, FileAction, FileOp, MkDirAction, Mount

IMAGE = "/dev/.lazybuild/image"
SEEN = "/dev/.lazybuild/seen"
FOLDER = "/seen"
FROM = "/from"
PUBLIC = 0o777  # the step's user may be anybody


def watched(head: Edge, tool: Tool, *, is_sorted: bool) -> tuple[Edge, tuple[Edge, ...]]:
    """The same result, and what its steps opened, one output for each, in their order."""
    steps = {e.vertex.digest for e in stack(head).tops if isinstance(e.vertex.op, ExecOp)}
    made: dict[str, Vertex] = {}
    traces: list[Edge] = []
    for vertex in walk(head.vertex):
        fresh = replace(vertex, inputs=tuple(_moved(edge, made) for edge in vertex.inputs))
        if vertex.digest in steps and isinstance(vertex.op, ExecOp):
            fresh, trace = _below_tracer(fresh, vertex.op, tool, is_sorted=is_sorted)
            traces.append(trace)
        made[vertex.digest] = fresh
    return _moved(head, made), tuple(traces)


def _moved(edge: Edge, made: Mapping[str, Vertex]) -> Edge:
    return Edge(made[edge.vertex.digest], edge.index)


def _below_tracer(
    vertex: Vertex, step: ExecOp, tool: Tool, *, is_sorted: bool
) -> tuple[Vertex, Edge]:
    output = 1 + max(mount.output for mount in step.mounts)
    place = len(vertex.inputs)
    mounts = (
        Mount(dest=IMAGE, input=place, readonly=True),
        Mount(dest=SEEN, input=place + 1, output=output),
    )
    order = "sorted" if is_sorted else "seen"
    args = (*tool.tracer(IMAGE), SEEN + FOLDER, order, "--", *step.meta.args)
    op = replace(step, meta=replace(step.meta, args=args), mounts=(*step.mounts, *mounts))
    fresh = replace(vertex, op=op, inputs=(*vertex.inputs, tool.root, _folder()))
    return fresh, Edge(fresh, output)


def _folder() -> Edge:
    """Where any user may leave something. The mode of a directory that is made is subject to the
    daemon's umask, that of one that is copied is not.
    """
    made = MkDirAction(path=f"{FROM}{FOLDER}", mode=PUBLIC, make_parents=True)
    whole = Edge(Vertex(op=FileOp(actions=(FileAction(action=made, output=0),))))
    copied = CopyAction(src=FROM, dest="/", mode=PUBLIC, dir_copy_contents=True)
    action = FileAction(action=copied, secondary_input=0, output=0)
    return Edge(Vertex(op=FileOp(actions=(action,)), inputs=(whole,)))
