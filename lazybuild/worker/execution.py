"""ExecOp: mounts the snapshot, runs the command in a sandbox over it, keeps what it wrote."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from lazybuild.errors import BuildError, ResourceError, StepFailedError
from lazybuild.events import VertexLog
from lazybuild.executor import users
from lazybuild.executor.host import Host
from lazybuild.executor.run import Exit, Stdio
from lazybuild.executor.run import run as run_sandboxed
from lazybuild.executor.spec import HOSTNAME, SHM_SIZE, Limit, StepSpec
from lazybuild.linux.ownernotes import ROOT
from lazybuild.llb.graph import Vertex
from lazybuild.llb.ops import ExecOp, Meta
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.snapshots.snapshot import Snapshot, together
from lazybuild.snapshots.steps import Running
from lazybuild.solver.once import StoppedError
from lazybuild.store.disk import is_full
from lazybuild.worker import mounts, secrets
from lazybuild.worker.services import AnyOf, NamespaceNeededError, Result, Services

SHELL = ("/bin/sh",)
NO_PROC = "steps have no /proc and no /sys on this host (T6)"
LOOK = "--on-failure=shell opens a shell in the failed step"


def run(services: Services, vertex: Vertex, op: ExecOp, inputs: Sequence[Result]) -> Snapshot:
    """What each output is: the root, or a mount, with one layer more: what the command wrote."""
    if services.host is None:
        raise NamespaceNeededError(vertex.name)
    base, number = _root(vertex, op, inputs)
    made: mounts.Made = {}
    with ExitStack() as stack:
        step = stack.enter_context(services.snapshots.mount(base))
        owner = _owner(services.host, step.merged, op.meta.user)
        spec = StepSpec(
            argv=op.meta.args,
            rootfs=step.merged,
            env=environment(op) | secrets.environment(services, op),
            cwd=op.meta.cwd,
            user=op.meta.user,
            mounts=tuple(mounts.realise(services, stack, vertex, op, inputs, made=made)),
            network=op.network,
            security=op.security,
            hostname=op.meta.hostname or HOSTNAME,
            extra_hosts=op.meta.extra_hosts,
            ulimits=tuple(
                Limit(name=it.name, soft=it.soft, hard=it.hard) for it in op.meta.ulimits
            ),
            shm_size=shm_size(op),
            host=services.host,
        )
        with services.tracer.watch(vertex, base, step.merged):
            ending = AnyOf(services.stop, services.lost(), services.unreadable())
            ended = run_sandboxed(spec, _listener(services, vertex), ending)
        if services.on_failure is not None and _failed(op.meta, ended):
            services.on_failure(vertex.name, lambda terminal: _shell(services, spec, terminal))
        _judge(services, op.meta, ended)
        made |= {number: (base, step)} if number >= 0 else {}
        for _, written in made.values():
            written.ended(ended.moved)
        return together([_kept(services.host, *made[each], owner) for each in sorted(made)])


def _kept(host: Host, base: Snapshot, step: Running, owner: tuple[int, int]) -> Snapshot:
    if host.one_id:
        step.note_owner(owner)
    return base.over(step.commit())


def _root(vertex: Vertex, op: ExecOp, inputs: Sequence[Result]) -> tuple[Snapshot, int]:
    """What it stands on, and which output it will be."""
    root = next((mount for mount in op.mounts if mount.dest == "/"), None)
    if root is None:
        raise BuildError(f"{vertex.name}: the step has no root file system")
    base = Snapshot() if root.input < 0 else inputs[root.input]
    if isinstance(base, HostTree):
        raise BuildError(f"{vertex.name}: a directory of the client can't be a root file system")
    return base, root.output


def _owner(host: Host, rootfs: Path, user: str) -> tuple[int, int]:
    """Whose the files of a step are where the kernel can't say it."""
    if not host.one_id:
        return ROOT
    identity = users.look_up(rootfs, user)
    return identity.uid, identity.gid


def environment(op: ExecOp) -> dict[str, str]:
    """The variables of the step: the proxy's, then those of the definition."""
    proxy = op.meta.proxy_env
    found: dict[str, str] = {}
    if proxy is not None:
        for name in ("http", "https", "ftp", "no", "all"):
            value = getattr(proxy, name)
            if value:
                found |= {f"{name}_proxy": value, f"{name.upper()}_PROXY": value}
    return found | dict(item.split("=", 1) for item in op.meta.env if "=" in item)


def shm_size(op: ExecOp) -> int:
    sizes = [mount.size for mount in op.mounts if mounts.is_shm(mount) and mount.size]
    return sizes[-1] if sizes else SHM_SIZE


def _listener(services: Services, vertex: Vertex) -> mounts.OnOutput:
    def listen(stream: int, data: bytes) -> None:
        services.sink(VertexLog(vertex=vertex.digest, stream=stream, data=data))

    return listen


def _shell(services: Services, spec: StepSpec, terminal: int) -> str:
    """A shell where the step stood, with its mounts; why there is none, or nothing."""
    env = {"TERM": os.environ.get("TERM", "xterm"), **spec.env}
    stdio = Stdio(stdin=terminal, terminal=True)
    wanted = replace(spec, argv=SHELL, env=env)
    return run_sandboxed(wanted, lambda *_: None, services.stop, stdio).reason


def _failed(meta: Meta, ended: Exit) -> bool:
    return not ended.cancelled and ended.status not in (meta.valid_exit_codes or (0,))


def _hints(services: Services) -> list[str]:
    chrooted = services.host is not None and not services.host.mounts
    return [*([NO_PROC] if chrooted else []), *([] if services.on_failure else [LOOK])]


def _judge(services: Services, meta: Meta, ended: Exit) -> None:
    """A step that saw an unreadable file may have gone wrong without noticing: ask first."""
    services.check()
    if ended.cancelled:
        raise StoppedError("cancelled")
    if not _failed(meta, ended):
        return
    command = " ".join(meta.args)
    if is_full(services.store.root):
        raise ResourceError(
            f'process "{command}" failed ({ended}) with no space left at {services.store.root}',
            hint="make room or run `lazybuild prune`; --root moves the store",
        )
    raise StepFailedError(
        f'process "{command}" did not complete successfully: {ended}',
        status=ended.status,
        hint="; ".join(_hints(services)),
    )
