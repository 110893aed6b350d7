"""Instructions that change only the image's config and history (WORKDIR makes a directory, too).

Each takes the draft it changes and the setting it is in. Words are expanded against the
environment as it was before the instruction.
"""

from lazybuild.dockerfile import gotext, paths, ports, signals
from lazybuild.dockerfile.args import NOT_IN_STEPS
from lazybuild.dockerfile.draft import Draft, Planned
from lazybuild.dockerfile.fileops import FileBuilder, owner
from lazybuild.dockerfile.instructions import (
    Arg,
    Cmd,
    Command,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    Maintainer,
    OnBuild,
    Shell,
    StopSignal,
    User,
    Variable,
    Volume,
    Workdir,
)
from lazybuild.dockerfile.setting import Setting
from lazybuild.errors import DockerfileError
from lazybuild.llb.ops import MkDirAction

DEFAULT_SHELL = ("/bin/sh", "-c")
_WINDOWS_SHELL = ("cmd", "/S", "/C")
_NANOSECONDS = 10**9

ConfigStep = (
    Arg
    | Cmd
    | Entrypoint
    | Env
    | Expose
    | Healthcheck
    | Label
    | Maintainer
    | OnBuild
    | Shell
    | StopSignal
    | User
    | Volume
)


def lower_config(draft: Draft, step: ConfigStep, setting: Setting) -> None:  # noqa: C901, PLR0912 - one arm a class
    """Apply an instruction that makes no layer."""
    match step:
        case Arg():
            _arg(draft, step, setting)
        case Env():
            _env(draft, step, setting)
        case Label():
            _label(draft, step, setting)
        case User():
            _user(draft, step, setting)
        case Cmd():
            _cmd(draft, step)
        case Entrypoint():
            _entrypoint(draft, step)
        case Expose():
            _expose(draft, step, setting)
        case Volume():
            _volume(draft, step, setting)
        case Shell():
            draft.change(shell=step.args)
            draft.record(f"SHELL {gotext.plain_list(step.args)}")
        case StopSignal():
            _stop_signal(draft, step, setting)
        case Healthcheck():
            draft.change(healthcheck=step.health)
            draft.record(f"HEALTHCHECK {gotext.health(step.health)}")
        case Maintainer():
            draft.author(step.name)
            draft.record(f"MAINTAINER {step.name}")
        case OnBuild():
            draft.change(on_build=(*draft.config.on_build, step.trigger))


def with_shell(draft: Draft, command: Command) -> tuple[str, ...]:
    """The argument vector of a command in either form."""
    if not command.in_shell:
        return command.args
    default = _WINDOWS_SHELL if draft.image.os == "windows" else DEFAULT_SHELL
    return (*(draft.config.shell or default), " ".join(command.args))


def lower_workdir(draft: Draft, planned: Planned, step: Workdir, setting: Setting) -> None:
    """Change the directory and, unless it is the root, make it in a layer of its own."""
    path = paths.absolute(draft.config.working_dir, setting.expand(draft, step, step.path))
    draft.change(working_dir=path)
    if path != paths.ROOT:
        builder = FileBuilder(draft.edge)
        builder.add(
            MkDirAction(
                path=paths.inside(path),
                mode=0o755,
                make_parents=True,
                owner=owner(draft.config.user, builder.base),
                timestamp=-1 if setting.epoch is None else setting.epoch * _NANOSECONDS,
            )
        )
        name = draft.title(setting.words.title(step.text, draft.env), triggered=planned.triggered)
        draft.edge = builder.build(draft.options(name, step, cached=True))
    draft.record(f"WORKDIR {path}", layer=path != paths.ROOT)


def _arg(draft: Draft, step: Arg, setting: Setting) -> None:
    shown: list[str] = []
    for item in step.items:
        value = _arg_value(draft, step, item, setting)
        if value is not None and item.name not in NOT_IN_STEPS:
            draft.set_env(item.name, value)
        draft.args.append(Variable(name=item.name, default=value))
        shown.append(item.name if value is None else f"{item.name}={value}")
    draft.record("ARG " + " ".join(shown))


def _arg_value(draft: Draft, step: Arg, item: Variable, setting: Setting) -> str | None:
    """`--build-arg`, else the default given here, else the global value, else unset."""
    if item.name in setting.options.build_args:
        return setting.options.build_args[item.name]
    if item.default is not None:
        return setting.expand(draft, step, item.default)
    return setting.scope.get(item.name)


def _expanded(draft: Draft, step: Env | Label, setting: Setting) -> list[tuple[str, str]]:
    def expand(text: str) -> str:
        return setting.expand(draft, step, text)

    return [(expand(pair.name), expand(pair.value)) for pair in step.pairs]


def _env(draft: Draft, step: Env, setting: Setting) -> None:
    pairs = _expanded(draft, step, setting)
    for name, value in pairs:
        draft.set_env(name, value)
        draft.export_env(name, value)
    draft.record("ENV " + " ".join(f"{name}={value}" for name, value in pairs))


def _label(draft: Draft, step: Label, setting: Setting) -> None:
    pairs = _expanded(draft, step, setting)
    draft.change(labels={**draft.config.labels, **dict(pairs)})
    draft.record("LABEL " + " ".join(f"{name}={value}" for name, value in pairs))


def _user(draft: Draft, step: User, setting: Setting) -> None:
    user = setting.expand(draft, step, step.user)
    draft.change(user=user)
    draft.record(f"USER {user}")


def _cmd(draft: Draft, step: Cmd) -> None:
    args = with_shell(draft, step.command)
    draft.has_cmd = True
    draft.change(cmd=args, args_escaped=True)
    draft.record(f"CMD {gotext.quoted_list(args)}")


def _entrypoint(draft: Draft, step: Entrypoint) -> None:
    args = with_shell(draft, step.command)
    draft.change(entrypoint=args or None)
    if not draft.has_cmd:
        draft.change(cmd=None)
    draft.record(f"ENTRYPOINT {gotext.quoted_list(args)}")


def _expose(draft: Draft, step: Expose, setting: Setting) -> None:
    found: list[str] = []
    for text in step.ports:
        for word in setting.words.split(text, draft.env):
            try:
                found.extend(ports.expand_port(word))
            except ValueError as error:
                raise DockerfileError(str(error), span=step.node.find(text)) from error
    draft.change(exposed_ports=tuple(sorted({*draft.config.exposed_ports, *found})))
    draft.record(f"EXPOSE {gotext.plain_list(found)}")


def _volume(draft: Draft, step: Volume, setting: Setting) -> None:
    found = [setting.expand(draft, step, path) for path in step.paths]
    if "" in found:
        raise DockerfileError("VOLUME specified can not be an empty string", span=step.span)
    draft.change(volumes=tuple(sorted({*draft.config.volumes, *found})))
    draft.record(f"VOLUME {gotext.plain_list(found)}")


def _stop_signal(draft: Draft, step: StopSignal, setting: Setting) -> None:
    signal = setting.expand(draft, step, step.signal)
    if not signals.known(signal):
        raise DockerfileError(f"Invalid signal: {signal}", span=step.span)
    draft.change(stop_signal=signal)
    draft.record(f"STOPSIGNAL {signal}")
