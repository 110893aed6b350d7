"""Where the layers of a result begin and end in its graph, and what is told of a written one. Pure.

BuildKit makes one layer of each step on the way from the base image to the result. The results of
these steps are all that another step can see of it: a layer is what one has beyond the one before.
"""

import json
from dataclasses import dataclass

from lazybuild.errors import IntegrityError
from lazybuild.llb.graph import Edge
from lazybuild.llb.ops import NO_INPUT, ExecOp, FileOp, MergeOp, SourceOp
from lazybuild.oci import digest
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import DiffID

IMAGES = ("docker-image://", "oci-layout://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """`base` is an image whose layers stay as they are, None for scratch; `tops` is what each step
    over it gives, the first one first.
    """

    base: Edge | None
    tops: tuple[Edge, ...]

    @property
    def below(self) -> tuple[Edge | None, ...]:
        """For each top, what it was made over."""
        return (self.base, *self.tops)[: len(self.tops)]


def stack(head: Edge) -> Stack:
    """The steps that made the layers of a result."""
    tops: list[Edge] = []
    edge: Edge | None = head
    while edge is not None and not _is_image(edge):
        tops.append(edge)
        edge = _below(edge)
    return Stack(base=edge, tops=tuple(reversed(tops)))


def _is_image(edge: Edge) -> bool:
    op = edge.vertex.op
    return isinstance(op, SourceOp) and op.identifier.startswith(IMAGES)


def _below(edge: Edge) -> Edge | None:
    """The input that an output has changed; None for one that begins with nothing."""
    vertex = edge.vertex
    match vertex.op:
        case ExecOp(mounts=mounts):
            index = next((mount.input for mount in mounts if mount.output == edge.index), NO_INPUT)
        case FileOp() as files:
            index = _first_input(files, edge.index, len(vertex.inputs))
        case MergeOp():
            index = 0
        case _:
            index = NO_INPUT
    return None if index == NO_INPUT else vertex.inputs[index]


def _first_input(files: FileOp, output: int, inputs: int) -> int:
    """What the chain of actions that ends in this output begins with."""
    index = next((a.input for a in files.actions if a.output == output), NO_INPUT)
    while index >= inputs:
        index = files.actions[index - inputs].input
    return index


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenLayer:
    """A layer as it was written, and the paths that it removes."""

    descriptor: Descriptor
    diff_id: DiffID
    removed: tuple[str, ...] = ()


def to_json(layer: WrittenLayer) -> str:
    found = layer.descriptor
    return json.dumps(
        {
            "mediaType": found.media_type,
            "digest": found.digest,
            "size": found.size,
            "annotations": dict(found.annotations),
            "diffID": layer.diff_id,
            "removed": list(layer.removed),
        },
        sort_keys=True,
    )


def from_json(data: bytes) -> WrittenLayer:
    """Raises IntegrityError: the step that wrote it had hostile files before it."""
    try:
        found = json.loads(data)
        descriptor = Descriptor(
            media_type=str(found["mediaType"]),
            digest=digest.parse(found["digest"]),
            size=int(found["size"]),
            annotations={str(name): str(text) for name, text in found["annotations"].items()},
        )
        diff_id = DiffID(digest.parse(found["diffID"]))
        removed = tuple(str(path) for path in found["removed"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"what was written of a layer makes no sense: {error}") from error
    return WrittenLayer(descriptor=descriptor, diff_id=diff_id, removed=removed)
