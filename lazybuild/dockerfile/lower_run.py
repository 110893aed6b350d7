"""RUN: one ExecOp with its root, its mounts and the environment of this place in the stage."""

from dataclasses import dataclass, field, replace

from lazybuild.dockerfile import paths
from lazybuild.dockerfile.draft import Draft, Planned
from lazybuild.dockerfile.fileops import FileBuilder, single_file
from lazybuild.dockerfile.instructions import Command, Run
from lazybuild.dockerfile.lower_config import with_shell
from lazybuild.dockerfile.mounts import RunMount, read_mount
from lazybuild.dockerfile.nodes import Heredoc
from lazybuild.dockerfile.setting import Setting
from lazybuild.errors import DockerfileError
from lazybuild.llb.graph import Edge, Vertex, VertexOptions
from lazybuild.llb.ops import (
    NO_OUTPUT,
    SHM,
    ExecOp,
    Meta,
    MkDirAction,
    Mount,
    MountType,
    NetworkMode,
    Owner,
    ProxyEnv,
    SecretEnv,
    SecurityMode,
    Sharing,
    User,
)

_PIPES = "/dev/pipes/"
_AGENT = "/run/buildkit/ssh_agent"
_CACHE_MODE = 0o755
_SECRET_MODE = 0o400
_SSH_MODE = 0o600


@dataclass(slots=True)
class _Step:
    """The parts of an ExecOp while they are collected."""

    mounts: list[tuple[Mount, Edge | None]] = field(default_factory=list)
    secrets: list[Mount] = field(default_factory=list)
    agents: list[Mount] = field(default_factory=list)
    secret_env: list[SecretEnv] = field(default_factory=list)

    def vertex_parts(self) -> tuple[tuple[Mount, ...], tuple[Edge, ...]]:
        """Mounts by destination, inputs numbered once each, outputs one after another."""
        inputs: list[Edge] = []
        done: list[Mount] = []
        outputs = 0
        for mount, edge in sorted(self.mounts, key=lambda pair: pair[0].dest):
            placed = mount
            if edge is not None:
                if edge not in inputs:
                    inputs.append(edge)
                placed = replace(placed, input=inputs.index(edge))
            if mount.output != NO_OUTPUT:
                placed = replace(placed, output=outputs)
                outputs += 1
            done.append(placed)
        return (*done, *self.secrets, *self.agents), tuple(inputs)


def lower_run(draft: Draft, planned: Planned, run: Run, setting: Setting) -> None:
    """Add the step to the draft."""
    _check_entitled(run, setting)
    step = _Step(mounts=[(Mount(dest="/", output=0), draft.edge)])
    args, title = _arguments(draft, run, step)
    _mount_all(draft, planned, run, step, setting)
    shown_env = dict(draft.env) | {secret.name: "****" for secret in step.secret_env}
    name = draft.title(setting.words.run_title(title, shown_env), triggered=planned.triggered)
    mounts, inputs = step.vertex_parts()
    op = ExecOp(
        meta=_meta(draft, args, step, setting),
        mounts=mounts,
        network=setting.options.network if run.network is NetworkMode.UNSET else run.network,
        security=run.security,
        secret_env=tuple(step.secret_env),
    )
    options = draft.options(name, run)
    vertex = Vertex(op=op, inputs=inputs, platform=draft.platform, options=options)
    draft.edge = Edge(vertex)
    draft.paths.add(paths.ROOT)
    draft.record(f"RUN {_declared(draft)}{' '.join(args)} # buildkit", layer=True)


def _check_entitled(run: Run, setting: Setting) -> None:
    wanted = {
        "security.insecure": run.security is SecurityMode.INSECURE,
        "network.host": run.network is NetworkMode.HOST,
    }
    for name, asked in wanted.items():
        if asked and name not in setting.options.allow:
            raise DockerfileError(
                f"granting entitlement {name} is not allowed by this build",
                span=run.security_span if name.startswith("security") else run.network_span,
                hint=f"give --allow {name}",
            )


def _arguments(draft: Draft, run: Run, step: _Step) -> tuple[tuple[str, ...], str]:
    """The argument vector, and the text the step is called by."""
    command = run.command
    if not command.heredocs:
        return with_shell(draft, command), run.text
    if not command.in_shell:
        raise DockerfileError("a RUN in JSON form can't have a heredoc", span=run.span)
    first = command.heredocs[0]
    if not run.lone_heredoc:
        parts = [command.args[0], *(f"{here.body}{here.name}" for here in command.heredocs)]
        return with_shell(draft, replace(command, args=("\n".join(parts),))), run.text
    title = f"{run.text} ({_summary(first)})"
    if draft.image.os != "windows" and first.content.startswith("#!"):
        edge = single_file(first.name, _bytes(first.content), _CACHE_MODE)
        step.mounts.append((Mount(dest=_PIPES, selector="/", readonly=True), edge))
        return with_shell(draft, Command(args=(_PIPES + first.name,), in_shell=True)), title
    return with_shell(draft, replace(command, args=(first.content,))), title


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _summary(heredoc: Heredoc) -> str:
    lines = heredoc.body.strip().replace("\r\n", "\n").split("\n")
    return lines[0] + ("..." if len(lines) > 1 else "")


def _mount_all(draft: Draft, planned: Planned, run: Run, step: _Step, setting: Setting) -> None:
    options = setting.options
    for index, flag in enumerate(run.mounts):
        mount = read_mount(flag, lambda text: setting.expand(draft, run, text))
        source = planned.sources[index] if index < len(planned.sources) else None
        match mount.type:
            case MountType.SECRET:
                _add_secret(mount, step)
            case MountType.SSH:
                _add_agent(mount, step)
            case _:
                _add_mount(draft, mount, source, step, setting)
    if options.shm_size:
        size = Mount(dest=SHM, type=MountType.TMPFS, size=options.shm_size)
        step.mounts.append((size, None))


def _add_secret(mount: RunMount, step: _Step) -> None:
    id_ = mount.source or mount.id or mount.target.rpartition("/")[2]
    if mount.env is not None:
        name = mount.env or id_
        step.secret_env.append(SecretEnv(id=id_, name=name, optional=not mount.required))
    target = mount.target
    if not target and mount.env is None:
        target = "/run/secrets/" + id_.rpartition("/")[2]
    if target:
        step.secrets.append(_guarded(mount, target, MountType.SECRET, id_, _SECRET_MODE))


def _add_agent(mount: RunMount, step: _Step) -> None:
    target = mount.target or f"{_AGENT}.{len(step.agents)}"
    id_ = mount.id or "default"
    step.agents.append(_guarded(mount, target, MountType.SSH, id_, _SSH_MODE))


def _guarded(mount: RunMount, target: str, kind: MountType, id_: str, mode: int) -> Mount:
    return Mount(
        dest=target,
        type=kind,
        id=id_,
        uid=mount.uid or 0,
        gid=mount.gid or 0,
        mode=mode if mount.mode is None else mount.mode,
        optional=not mount.required,
    )


def _add_mount(
    draft: Draft, mount: RunMount, source: Draft | None, step: _Step, setting: Setting
) -> None:
    target = paths.inside(paths.absolute(draft.cwd, mount.target))
    if target == paths.ROOT:
        raise DockerfileError(f'invalid mount target "{mount.target or target}"', span=mount.span)
    edge = _mount_edge(mount, source, setting)
    selector = paths.inside(mount.source)
    placed = Mount(
        dest=target,
        type=mount.type,
        readonly=not mount.writable,
        selector="" if selector == paths.ROOT else selector,
        size=mount.size,
    )
    if mount.type is MountType.TMPFS:
        step.mounts.append((placed, None))
        return
    if selector == paths.ROOT and mount.owned:
        edge, placed = _owned_base(mount, edge), replace(placed, selector="/cache")
    if mount.type is MountType.CACHE:
        id_ = mount.id or paths.clean(mount.target)
        placed = replace(
            placed,
            id=f"{setting.options.cache_namespace}/{id_}",
            sharing=mount.sharing or Sharing.SHARED,
        )
    step.mounts.append((placed, edge))


def _mount_edge(mount: RunMount, source: Draft | None, setting: Setting) -> Edge | None:
    if source is not None:
        if not source.ready:
            raise DockerfileError(
                f'cannot mount from stage "{mount.source_stage}" to "{mount.target}", stage needs'
                " to be defined before current command",
                span=mount.span,
            )
        source.paths.add(paths.inside(mount.source))
        return source.edge
    if mount.type is MountType.BIND:
        return setting.contexts.main(mount.source)
    return None


def _owned_base(mount: RunMount, edge: Edge | None) -> Edge:
    """A directory of the asked mode and owner for an empty cache to start from."""
    builder = FileBuilder(edge)
    builder.add(
        MkDirAction(
            path="/cache",
            mode=_CACHE_MODE if mount.mode is None else mount.mode,
            owner=Owner(user=User(id=mount.uid or 0), group=User(id=mount.gid or 0)),
        )
    )
    return builder.build(VertexOptions(name="[internal] setting cache mount permissions"))


def _meta(draft: Draft, args: tuple[str, ...], step: _Step, setting: Setting) -> Meta:
    env = dict(draft.env)
    if step.agents:
        env.setdefault("SSH_AUTH_SOCK", step.agents[0].dest)
    return Meta(
        args=args,
        env=tuple(f"{name}={value}" for name, value in env.items()),
        cwd=draft.cwd,
        user=draft.config.user,
        proxy_env=_proxies(setting),
        extra_hosts=setting.options.add_hosts,
        hostname=setting.options.hostname,
        ulimits=setting.options.ulimits,
        cgroup_parent=setting.options.cgroup_parent,
        remove_mount_stubs_recursive=True,
    )


def _proxies(setting: Setting) -> ProxyEnv | None:
    """The proxy variables given as build arguments, in whatever case."""
    given = {name.lower(): value for name, value in sorted(setting.options.build_args.items())}
    names = {field: f"{field}_proxy" for field in ("http", "https", "ftp", "no", "all")}
    found = {field: given[name] for field, name in names.items() if name in given}
    return ProxyEnv(**found) if found else None


def _declared(draft: Draft) -> str:
    """`|N name=value … ` for the N arguments declared so far; a name once, its value of now."""
    values: dict[str, str] = {}
    for item in draft.args:
        values[item.name] = draft.env.get(item.name, item.default or "")
    if not values:
        return ""
    pairs = " ".join(f"{name}={value}" for name, value in values.items())
    return f"|{len(values)} {pairs} "
