"""A directory of the client as a snapshot, for steps that mount it: all of it becomes a layer."""

from lazybuild.llb.ops import NO_INPUT, CopyAction, FileAction, FileOp
from lazybuild.snapshots import fileop
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.worker.services import Services

_ALL = FileOp(
    actions=(
        FileAction(
            action=CopyAction(src="/", dest="/", dir_copy_contents=True),
            input=NO_INPUT,
            secondary_input=0,
            output=0,
        ),
    )
)


def snapshot(services: Services, tree: HostTree) -> Snapshot:
    """Equal directories give the same layer, so that it is written once."""
    output = fileop.apply(_ALL, [tree])[0]
    return Snapshot((services.snapshots.add_layer(output.items()),))
