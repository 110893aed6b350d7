"""The ordered layer: a step over the result that puts first what a start of the image reads first.

BuildKit writes a layer's files by name and knows no order. So a step of our own image copies those
files into a directory whose name sorts before everything else, makes their real names links to the
copies, and sets a landmark after them; a second op takes directory and landmark away again. An
exporter that writes eStargz then has a prefetch range, at the price of those bytes being in the
image twice, and of two more layers. Pure: `order` is what runs in the step.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lazybuild.errors import UsageError
from lazybuild.llb.graph import Edge, Vertex, VertexOptions
from lazybuild.llb.ops import (
    ExecOp,
    FileAction,
    FileOp,
    Meta,
    Mount,
    NetworkMode,
    RmAction,
)
from lazybuild.oci.image import History, ImageConfig

MODE = "LAZYBUILD_OUTPUT"
GLOBS = "LAZYBUILD_PREFETCH"
PLAIN, HOT = "plain", "hot"
IMAGE = "/mnt/image"
FIRST = ".lazybuild-first"
LANDMARK = ".prefetch.landmark"
ADVICE = (
    "the files that are read first stand first in a layer of their own; export it with"
    " compression=estargz,force-compression=true,oci-mediatypes=true, or nobody can tell"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """Our own image as the root of a step: what is in it, and how this program runs there."""

    root: Edge
    argv: tuple[str, ...]
    env: tuple[str, ...]


def wanted(build_args: Mapping[str, str]) -> bool:
    """Whether the build argument asks for it. Raises UsageError for what it can't be."""
    mode = build_args.get(MODE, PLAIN) or PLAIN
    if mode not in (PLAIN, HOT):
        raise UsageError(f"{MODE}={mode} is not supported", hint=f"{PLAIN} and {HOT} are")
    return mode == HOT


def ordered(
    head: Edge, config: ImageConfig, tool: Tool, build_args: Mapping[str, str]
) -> tuple[Edge, ImageConfig]:
    """The same files with an ordered layer on top, and the config that says so."""
    step = ExecOp(
        meta=Meta(args=(*tool.argv, _orders(config, build_args)), env=tool.env),
        mounts=(
            Mount(dest="/", input=0, output=0),
            Mount(dest=IMAGE, input=1, output=1),
        ),
        network=NetworkMode.NONE,
    )
    name = "[lazybuild] put first what is read first"
    made = Vertex(
        op=step,
        inputs=(tool.root, head),
        platform=tool.root.vertex.platform,
        options=VertexOptions(name=name),
    )
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


def _orders(config: ImageConfig, build_args: Mapping[str, str]) -> str:
    own = config.config
    return json.dumps(
        {
            "argv": [*(own.entrypoint or ()), *(own.cmd or ())],
            "env": list(own.env),
            "cwd": own.working_dir or "/",
            "globs": build_args.get(GLOBS, "").replace(",", " ").split(),
        },
        sort_keys=True,
    )
