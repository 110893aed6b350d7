"""From nodes to typed instructions: arguments counted, flags read, forms told apart. Pure.

Raises DockerfileError with the place of the instruction or flag. Expands nothing.
"""

import re
from collections.abc import Callable

from lazybuild.dockerfile import flags
from lazybuild.dockerfile.flags import Kind
from lazybuild.dockerfile.healthcheck import decode_healthcheck
from lazybuild.dockerfile.heredoc import parse_mark
from lazybuild.dockerfile.hints import hint
from lazybuild.dockerfile.instructions import (
    Arg,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Pair,
    Run,
    Shell,
    StopSignal,
    User,
    Variable,
    Volume,
    Workdir,
)
from lazybuild.dockerfile.nodes import KEYWORDS, Heredoc, Node, words_of
from lazybuild.errors import DockerfileError, NotSupportedYetError
from lazybuild.llb.ops import NetworkMode, SecurityMode

_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*")
_ONBUILD = re.compile(r"\s*ONBUILD\s*", re.IGNORECASE)

_RUN_FLAGS = {
    "mount": Kind.LIST,
    "network": Kind.TEXT,
    "security": Kind.TEXT,
    "device": Kind.LIST,
}
_SHARED_COPY_FLAGS = {
    "chown": Kind.TEXT,
    "chmod": Kind.TEXT,
    "link": Kind.BOOL,
    "exclude": Kind.LIST,
}
_COPY_FLAGS = {**_SHARED_COPY_FLAGS, "from": Kind.TEXT, "parents": Kind.BOOL}
_ADD_FLAGS = {
    **_SHARED_COPY_FLAGS,
    "keep-git-dir": Kind.BOOL,
    "checksum": Kind.TEXT,
    "unpack": Kind.BOOL,
}


def decode(node: Node) -> Instruction:
    """What a node says."""
    make = _DECODERS.get(node.keyword)
    if make is None:
        near = hint(node.keyword.upper(), [known.upper() for known in KEYWORDS])
        raise DockerfileError(f"unknown instruction: {node.name}", span=node.span, hint=near)
    return make(node)


def _from(node: Node) -> From:
    name = ""
    if len(node.args) == 3 and node.args[1].lower() == "as":  # noqa: PLR2004 - base AS name
        name = node.args[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            raise DockerfileError(
                f'invalid name for build stage: "{node.args[2]}", name can\'t start with a number'
                " or contain symbols",
                span=node.find(node.args[2]),
            )
    elif len(node.args) != 1:
        raise DockerfileError("FROM requires either one or three arguments", span=node.span)
    given = flags.read(node, {"platform": Kind.TEXT})
    return From(node=node, base=node.args[0], stage_name=name, platform=given.text("platform"))


def _arg(node: Node) -> Arg:
    return Arg(node=node, items=tuple(_variable(node, text) for text in _some(node)))


def _variable(node: Node, text: str) -> Variable:
    name, equals, value = text.partition("=")
    if equals and not name:
        raise DockerfileError("ARG names can not be blank", span=node.span)
    return Variable(name=name, default=value if equals else None)


def _env(node: Node) -> Env:
    return Env(node=node, pairs=_pairs(node))


def _label(node: Node) -> Label:
    return Label(node=node, pairs=_pairs(node))


def _pairs(node: Node) -> tuple[Pair, ...]:
    flags.read(node, {})
    _some(node)
    if any(not name for name, _, _ in words_of(node.args)):
        raise DockerfileError(f"{_upper(node)} names can not be blank", span=node.span)
    return tuple(
        Pair(name=name, value=value, legacy=not delimiter)
        for name, value, delimiter in words_of(node.args)
    )


def _run(node: Node) -> Run:
    given = flags.read(node, _RUN_FLAGS)
    if given.all("device"):
        raise NotSupportedYetError(
            "RUN --device is not supported yet", span=given.all("device")[0].span
        )
    command = _command(node)
    if not command.args:
        raise DockerfileError("RUN requires a command to run", span=node.span)
    return Run(
        node=node,
        command=command,
        mounts=given.all("mount"),
        network=_network(node, given),
        security=_security(node, given),
        network_span=given.span("network", node.span),
        security_span=given.span("security", node.span),
        lone_heredoc=bool(node.heredocs) and _heredoc_name(" ".join(node.args)) is not None,
    )


def _network(node: Node, given: flags.Flags) -> NetworkMode:
    text = given.text("network")
    if "network" not in given.values:
        return NetworkMode.UNSET
    if text not in set(NetworkMode):
        raise DockerfileError(
            f'unsupported network mode: "{text}"',
            span=given.span("network", node.span),
            hint=hint(text, list(NetworkMode)),
        )
    return NetworkMode(text)


def _security(node: Node, given: flags.Flags) -> SecurityMode:
    text = given.text("security")
    if "security" not in given.values:
        return SecurityMode.SANDBOX
    if text not in set(SecurityMode):
        raise DockerfileError(
            f'security "{text}" is not valid',
            span=given.span("security", node.span),
            hint=hint(text, list(SecurityMode)),
        )
    return SecurityMode(text)


def _command(node: Node) -> Command:
    if node.json:
        return Command(args=node.args, in_shell=False, heredocs=node.heredocs)
    return Command(args=(" ".join(node.args),), in_shell=True, heredocs=node.heredocs)


def _copy(node: Node) -> Copy:
    return _transfer(node, _COPY_FLAGS, add=False)


def _add(node: Node) -> Copy:
    return _transfer(node, _ADD_FLAGS, add=True)


def _transfer(node: Node, kinds: dict[str, Kind], *, add: bool) -> Copy:
    if len(node.args) < 2:  # noqa: PLR2004 - a source and a destination
        raise DockerfileError(
            f"{_upper(node)} requires at least two arguments, but only one was provided."
            " Destination could not be determined",
            span=node.span,
        )
    given = flags.read(node, kinds)
    sources, inline = _sources(node)
    return Copy(
        node=node,
        add=add,
        sources=sources,
        inline=inline,
        dest=node.args[-1],
        source_stage=given.text("from"),
        source_span=given.span("from", node.span),
        chown=given.text("chown"),
        chmod=given.text("chmod"),
        link=bool(given.switch("link")),
        parents=bool(given.switch("parents")),
        excludes=tuple(value.text for value in given.all("exclude")),
        checksum=given.text("checksum"),
        keep_git_dir=given.switch("keep-git-dir"),
        unpack=given.switch("unpack"),
    )


def _sources(node: Node) -> tuple[tuple[str, ...], tuple[Heredoc, ...]]:
    """The sources that are paths, and those that are heredocs."""
    bodies = {heredoc.name: heredoc for heredoc in node.heredocs}
    if _heredoc_name(node.args[-1]) in bodies:
        raise DockerfileError(
            f"{_upper(node)} cannot accept a heredoc as a destination", span=node.span
        )
    names = [(word, _heredoc_name(word)) for word in node.args[:-1]]
    paths = tuple(word for word, name in names if name not in bodies)
    return paths, tuple(bodies[name] for _, name in names if name in bodies)


def _heredoc_name(word: str) -> str | None:
    mark = parse_mark(word.strip())
    return mark.name if mark else None


def _workdir(node: Node) -> Workdir:
    return Workdir(node=node, path=_only(node))


def _user(node: Node) -> User:
    return User(node=node, user=_only(node))


def _maintainer(node: Node) -> Maintainer:
    return Maintainer(node=node, name=_only(node))


def _stop_signal(node: Node) -> StopSignal:
    """The reference looks at no flag here, nor at those of ARG: they are passed over."""
    if len(node.args) != 1:
        raise DockerfileError("STOPSIGNAL requires exactly one argument", span=node.span)
    return StopSignal(node=node, signal=node.args[0])


def _cmd(node: Node) -> Cmd:
    flags.read(node, {})
    return Cmd(node=node, command=_command(node))


def _entrypoint(node: Node) -> Entrypoint:
    flags.read(node, {})
    return Entrypoint(node=node, command=_command(node))


def _expose(node: Node) -> Expose:
    flags.read(node, {})
    return Expose(node=node, ports=tuple(sorted(_some(node))))


def _volume(node: Node) -> Volume:
    flags.read(node, {})
    paths = tuple(path.strip() for path in _some(node))
    if "" in paths:
        raise DockerfileError("VOLUME specified can not be an empty string", span=node.span)
    return Volume(node=node, paths=paths)


def _shell(node: Node) -> Shell:
    flags.read(node, {})
    if not _some(node) or not node.json:
        raise DockerfileError(
            "SHELL requires the arguments to be in JSON form",
            span=node.span,
            hint='write SHELL ["executable", "argument"]',
        )
    return Shell(node=node, args=node.args)


def _onbuild(node: Node) -> OnBuild:
    inner = node.child.keyword.upper() if node.child else ""
    if not inner:
        raise DockerfileError("ONBUILD requires at least one argument", span=node.span)
    flags.read(node, {})
    if inner == "ONBUILD":
        raise DockerfileError(
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", span=node.span
        )
    if inner in {"MAINTAINER", "FROM"}:
        raise DockerfileError(f"{inner} isn't allowed as an ONBUILD trigger", span=node.span)
    text = _ONBUILD.sub("", node.original, count=1)
    bodies = [f"\n{heredoc.body}{heredoc.name}" for heredoc in node.heredocs]
    return OnBuild(node=node, trigger=text + "".join(bodies))


def _only(node: Node) -> str:
    """The one argument of an instruction that takes exactly one."""
    if len(node.args) != 1:
        raise DockerfileError(f"{_upper(node)} requires exactly one argument", span=node.span)
    flags.read(node, {})
    return node.args[0]


def _some(node: Node) -> tuple[str, ...]:
    if not node.args:
        raise DockerfileError(f"{_upper(node)} requires at least one argument", span=node.span)
    return node.args


def _upper(node: Node) -> str:
    return node.keyword.upper()


_DECODERS: dict[str, Callable[[Node], Instruction]] = {
    "add": _add,
    "arg": _arg,
    "cmd": _cmd,
    "copy": _copy,
    "entrypoint": _entrypoint,
    "env": _env,
    "expose": _expose,
    "from": _from,
    "healthcheck": decode_healthcheck,
    "label": _label,
    "maintainer": _maintainer,
    "onbuild": _onbuild,
    "run": _run,
    "shell": _shell,
    "stopsignal": _stop_signal,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}
