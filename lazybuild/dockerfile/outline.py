"""The `outline` subrequest: the arguments, secrets and ssh agents a target takes. Pure.

Values are those that the file and the options give; what a base image sets counts as unset.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lazybuild.dockerfile.args import global_scope, predefined
from lazybuild.dockerfile.draft import Draft
from lazybuild.dockerfile.gojson import Json, content, indented, location, table, without_empty
from lazybuild.dockerfile.instructions import Arg, Env, Run, Step
from lazybuild.dockerfile.mounts import RunMount, read_mount
from lazybuild.dockerfile.nodes import Document
from lazybuild.dockerfile.options import CompileOptions
from lazybuild.dockerfile.plan import make_plan
from lazybuild.dockerfile.scope import Globals, StageScope, stage_scopes
from lazybuild.dockerfile.stages import Stage, description, split
from lazybuild.dockerfile.words import Words
from lazybuild.errors import DockerfileError, Span
from lazybuild.llb.ops import MountType

VERSION = "1.0.0"
_GAP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    name: str
    value: str
    description: str
    span: Span
    needs: frozenset[str] = frozenset()
    """Other global arguments that its default is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A secret or an ssh agent."""

    id: str
    required: bool
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    name: str
    description: str
    arguments: tuple[Argument, ...]
    secrets: tuple[Access, ...]
    agents: tuple[Access, ...]


@dataclass(slots=True, kw_only=True)
class _Taken:
    """What one stage takes; `known` also holds the arguments that it could take."""

    known: dict[str, Argument]
    used: set[str] = field(default_factory=set)
    secrets: dict[str, Access] = field(default_factory=dict)
    agents: dict[str, Access] = field(default_factory=dict)

    def arguments(self) -> Iterator[Argument]:
        """The used ones, and those that they are made of."""
        waiting, seen = sorted(self.used), set[str]()
        while waiting:
            name = waiting.pop()
            if name in seen or name not in self.known:
                continue
            seen.add(name)
            yield self.known[name]
            waiting.extend(sorted(self.known[name].needs))


def outline(document: Document, options: CompileOptions) -> Outline:
    """What the target takes, it and every stage it is made from."""
    arguments, stages = split(document)
    words = Words(document.escape)
    start = predefined(options, options.target or stages[-1].name)
    scope = global_scope(start, arguments, options.build_args, words)
    shared = Globals(words=words, scope=scope, build_args=options.build_args)
    taken = _stages(stages, shared, _globals(arguments, shared, start))
    target = make_plan(stages, scope, words, options).target(options.target)
    return _gathered(target, taken)


def _gathered(target: Draft, taken: Mapping[int, _Taken]) -> Outline:
    arguments: dict[str, Argument] = {}
    secrets: dict[str, Access] = {}
    agents: dict[str, Access] = {}
    for stage in _depth_first(target):
        own = taken[stage.index]
        for argument in own.arguments():
            arguments.setdefault(argument.name, argument)
        secrets = {**own.secrets, **secrets}
        agents = {**own.agents, **agents}
    named = target.stage
    name = named.name if named else ""
    return Outline(
        name=name,
        description=description(named.opening.node.comments, name) if named else "",
        arguments=tuple(sorted(arguments.values(), key=_place)),
        secrets=tuple(sorted(secrets.values(), key=_place)),
        agents=tuple(sorted(agents.values(), key=_place)),
    )


def _place(taken: Argument | Access) -> tuple[int, str]:
    return taken.span.line, taken.name if isinstance(taken, Argument) else taken.id


def _depth_first(target: Draft) -> Iterator[Stage]:
    """The target, its base, then what it copies from: what is found first counts."""
    waiting, seen = [target], set[Draft]()
    while waiting:
        draft = waiting.pop()
        if draft in seen:
            continue
        seen.add(draft)
        if draft.stage is not None:
            yield draft.stage
        waiting.extend(reversed(draft.needs))
        if draft.base is not None:
            waiting.append(draft.base)


def _globals(
    arguments: tuple[Arg, ...], shared: Globals, start: Mapping[str, str]
) -> dict[str, Argument]:
    """The global arguments by name, with the values they have at that place."""
    scope, found = dict(start), dict[str, Argument]()
    for instruction in arguments:
        for item in instruction.items:
            needs = frozenset[str]()
            value = shared.build_args.get(item.name)
            if value is None and item.default is not None:
                expansion = shared.words.process(item.default, scope)
                value, needs = expansion.text, expansion.used
                if item.name in needs and item.name in found:
                    needs |= found[item.name].needs
            if value is not None:
                scope[item.name] = value
            found[item.name] = _argument(instruction, item.name, value, needs - {item.name})
    return found


def _argument(
    instruction: Arg, name: str, value: str | None, needs: frozenset[str] = frozenset()
) -> Argument:
    return Argument(
        name=name,
        value=value or "",
        description=description(instruction.node.comments, name),
        span=instruction.span,
        needs=needs,
    )


def _stages(
    stages: tuple[Stage, ...], shared: Globals, known: Mapping[str, Argument]
) -> dict[int, _Taken]:
    found: dict[int, _Taken] = {}
    for stage, _, scope in stage_scopes(stages, shared):
        taken = _Taken(known=dict(known))
        for text in (stage.opening.base, stage.opening.platform):
            expansion = shared.process(text)
            taken.used |= expansion.used if expansion else frozenset()
        for step in stage.steps:
            _take(step, taken, scope)
        found[stage.index] = taken
    return found


def _take(step: Step, taken: _Taken, scope: StageScope) -> None:
    match step:
        case Arg():
            _take_arguments(step, taken, scope)
        case Env():
            scope.assign(step)
        case Run():
            _take_mounts(step, taken, scope)


def _take_arguments(step: Arg, taken: _Taken, scope: StageScope) -> None:
    """An ARG without a value of its own speaks of the global one, and that is the one listed."""
    shared = scope.shared
    scope.declare(step)
    for item in step.items:
        own = item.default is not None or item.name in shared.build_args
        if own or item.name not in shared.scope:
            taken.known[item.name] = _argument(step, item.name, scope.env.get(item.name))
        taken.used.add(item.name)


def _take_mounts(step: Run, taken: _Taken, scope: StageScope) -> None:
    for flag in step.mounts:
        try:
            mount = read_mount(flag, lambda text: scope.shared.words.expand(text, scope.env))
        except DockerfileError as error:
            error.span = error.span or flag.span
            raise
        if mount.type is MountType.SECRET:
            _add(taken.secrets, mount.source or mount.id or _last_name(mount), mount, step)
        elif mount.type is MountType.SSH:
            _add(taken.agents, mount.id or "default", mount, step)


def _last_name(mount: RunMount) -> str:
    return mount.target.rstrip("/").rpartition("/")[2]


def _add(to: dict[str, Access], name: str, mount: RunMount, step: Run) -> None:
    to.setdefault(name, Access(id=name, required=mount.required, span=step.span))


def outline_text(found: Outline) -> str:
    parts: list[str] = []
    if found.name or found.description:
        rows = [("TARGET:", found.name or "(default)")]
        if found.description:
            rows.append(("DESCRIPTION:", found.description))
        parts.append(table(rows, padding=1))
    if found.arguments:
        listed = [(each.name, each.value, each.description) for each in found.arguments]
        parts.append(table([("BUILD ARG", "VALUE", "DESCRIPTION"), *listed], padding=_GAP))
    for title, accesses in (("SECRET", found.secrets), ("SSH", found.agents)):
        if accesses:
            marks = [(each.id, "true" if each.required else "") for each in accesses]
            parts.append(table([(title, "REQUIRED"), *marks], padding=_GAP))
    return "".join(f"{part}\n" for part in parts)


def outline_json(found: Outline, document: Document) -> str:
    members: dict[str, Json] = {
        "name": found.name,
        "description": found.description,
        "args": [_argument_json(each) for each in found.arguments],
        "secrets": [_access_json(each) for each in found.secrets],
        "ssh": [_access_json(each) for each in found.agents],
        "sources": [content(document.source)],
    }
    return indented(without_empty(members))


def _argument_json(argument: Argument) -> Json:
    optional: dict[str, Json] = {
        "description": argument.description,
        "value": argument.value,
        "location": location(argument.span),
    }
    return {"name": argument.name, **without_empty(optional)}


def _access_json(access: Access) -> Json:
    optional: dict[str, Json] = {"required": access.required, "location": location(access.span)}
    return {"name": access.id, **without_empty(optional)}
