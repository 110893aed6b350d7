"""The mounts of a step besides its root: from stages and images, caches, tmpfs, secrets, agents."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from lazybuild.errors import BuildError
from lazybuild.executor.spec import BindMount, FileMount, StepMount, TmpfsMount
from lazybuild.llb.graph import Vertex
from lazybuild.llb.ops import SHM, ExecOp, Mount, MountType
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.snapshots.steps import Running
from lazybuild.worker import agents, caches, hostlayer, secrets
from lazybuild.worker.services import Result, Services

OnOutput = Callable[[int, bytes], None]

# What a step writes, by the number of its output: over what, and where.
Made = dict[int, tuple[Snapshot, Running]]


def is_shm(mount: Mount) -> bool:
    """The sandbox mounts it itself; such a mount only says its size."""
    return mount.type is MountType.TMPFS and mount.dest == SHM


def realise(
    services: Services,
    stack: ExitStack,
    vertex: Vertex,
    op: ExecOp,
    inputs: Sequence[Result],
    *,
    made: Made,
) -> Iterator[StepMount]:
    """What the sandbox has to mount; whatever has to be undone goes on the stack, what will be a
    result into `made`.
    """
    for mount in op.mounts:
        if mount.dest == "/" or is_shm(mount):
            continue
        found = _realise(services, stack, vertex, mount, inputs, made=made)
        if found is not None:
            yield found


def _realise(
    services: Services,
    stack: ExitStack,
    vertex: Vertex,
    mount: Mount,
    inputs: Sequence[Result],
    *,
    made: Made,
) -> StepMount | None:
    match mount.type:
        case MountType.BIND:
            return _bind(services, stack, mount, inputs, made)
        case MountType.CACHE:
            return caches.mount(services, stack, vertex, mount, inputs)
        case MountType.TMPFS:
            return TmpfsMount(dest=mount.dest, size=mount.size)
        case MountType.SECRET:
            return _secret(services, mount)
        case MountType.SSH:
            return agents.mount(services, stack, mount)


def _bind(
    services: Services, stack: ExitStack, mount: Mount, inputs: Sequence[Result], made: Made
) -> StepMount:
    """Read-only as it is; writable over a layer of its own, thrown away unless it is an output."""
    snapshot = _snapshot(services, inputs[mount.input]) if mount.input >= 0 else Snapshot()
    if mount.readonly:
        source: Path = stack.enter_context(services.snapshots.view(snapshot))
    else:
        step = stack.enter_context(services.snapshots.mount(snapshot))
        source = step.merged
        if mount.output >= 0:
            made[mount.output] = (snapshot, step)
    return BindMount(
        source=source,
        dest=mount.dest,
        selector=mount.selector,
        readonly=mount.readonly,
        movable=True,
    )


def _snapshot(services: Services, result: Result) -> Snapshot:
    if isinstance(result, HostTree):
        return hostlayer.snapshot(services, result)
    return result


def _secret(services: Services, mount: Mount) -> StepMount | None:
    data = secrets.read(services, mount.id, optional=mount.optional)
    if data is None:
        return None
    if mount.type is not MountType.SECRET:
        raise BuildError(f"{mount.dest}: not a secret")
    return FileMount(
        dest=mount.dest, data=data, mode=mount.mode, uid=mount.uid, gid=mount.gid, readonly=True
    )
