"""FileOp: COPY, ADD, WORKDIR and heredocs. Makes a layer out of trees; mounts nothing."""

import time
from collections.abc import Sequence

from lazybuild.errors import BuildError
from lazybuild.llb.graph import Vertex
from lazybuild.llb.ops import FileOp
from lazybuild.snapshots import fileop
from lazybuild.snapshots.closure import closure
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.snapshots.snapshot import Snapshot, together
from lazybuild.worker import keys
from lazybuild.worker.services import Result, Services


def run(services: Services, vertex: Vertex, op: FileOp, inputs: Sequence[Result]) -> Snapshot:
    """What each output of the op is: its base with one layer more."""
    trees = [
        item if isinstance(item, HostTree) else services.snapshots.tree(item) for item in inputs
    ]
    made = fileop.apply(op, trees, now=lambda: now(services.epoch))
    if not made:
        raise BuildError(f"{vertex.name}: no output")
    return together(
        [_kept(services, vertex, number, made[number], inputs) for number in sorted(made)]
    )


def _kept(
    services: Services,
    vertex: Vertex,
    number: int,
    output: fileop.Output,
    inputs: Sequence[Result],
) -> Snapshot:
    base = Snapshot() if output.base < 0 else inputs[output.base]
    if isinstance(base, HostTree):
        raise BuildError(f"{vertex.name}: a directory of the client can't be changed")
    hot = () if base.layers else started(services, output)
    lineage = keys.plan(vertex).digest + (f":{number}" if number else "")
    layer = services.snapshots.add_layer(output.items(), hot, services.options, lineage=lineage)
    return base.over(layer)


def started(services: Services, output: fileop.Output) -> Sequence[str]:
    """What starting the image reads of a layer that stands alone: known before it is written."""
    return closure(output.draft, services.start) if services.options.prefetch else ()


def now(epoch: int | None) -> int:
    """Nanoseconds; the epoch, when one is asked for, so that the same build has the same times."""
    return time.time_ns() if epoch is None else epoch * 1_000_000_000
