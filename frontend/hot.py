"""The ordered layer: a step over the result that puts first what a start of the image reads first.

BuildKit writes a layer's files by name and knows no order. So a step of our own image copies those
files into a directory whose name sorts before everything else, makes their real names links to the
copies, and sets a landmark after them; a second op takes directory and landmark away again. An
exporter that writes eStargz then has a prefetch range, at the price of those bytes being in the
image twice, and of two more layers. Pure: `order` is what runs in the step.
"""

from collections.abc import Sequence
from dataclasses import replace

from frontend.orders import Orders, to_json
from frontend.places import TRACES
from frontend.tool import Tool
from lazybuild.llb.graph import Edge, Vertex, VertexOptions
from lazybuild.llb.ops import FileAction, FileOp, Mount, RmAction
from lazybuild.oci.image import History, ImageConfig

IMAGE = "/mnt/image"
FIRST = ".lazybuild-first"
LANDMARK = ".prefetch.landmark"
ADVICE = (
    "the files that are read first stand first in a layer of their own; export it with"
    " compression=estargz,force-compression=true,oci-mediatypes=true, or nobody can tell"
)


def ordered(
    head: Edge, config: ImageConfig, tool: Tool, orders: Orders, traces: Sequence[Edge] = ()
) -> tuple[Edge, ImageConfig]:
    """The same files with an ordered layer on top, and the config that says so."""
    name = "[lazybuild] put first what is read first"
    argv = tool.argv("frontend.order", to_json(orders))
    seen = [Mount(dest=f"{TRACES}/{n}", input=2 + n) for n in range(len(traces))]
    mounts = [Mount(dest=IMAGE, input=1, output=1), *seen]
    made = tool.step(argv, mounts, [head, *traces], name)
    removed = FileOp(
        actions=(
            FileAction(action=RmAction(path=f"/{FIRST}", allow_not_found=True), input=0),
            FileAction(
                action=RmAction(path=f"/{LANDMARK}", allow_not_found=True), input=1, output=0
            ),
        )
    )
    options = VertexOptions(name="[lazybuild] take the marks away")
    top = Edge(Vertex(op=removed, inputs=(Edge(made, 1),), options=options))
    lines = tuple(History(created_by=text, comment="lazybuild") for text in (name, options.name))
    return top, replace(config, history=(*config.history, *lines))
