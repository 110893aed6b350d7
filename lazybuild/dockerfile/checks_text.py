"""The checks that the text alone decides: casing, names, forms, what FROM lines refer to. Pure.

Each rule is a generator of what it found; whether a rule is switched on is asked elsewhere.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lazybuild.dockerfile import platforms
from lazybuild.dockerfile.dump import quote
from lazybuild.dockerfile.instructions import Arg
from lazybuild.dockerfile.nodes import Document, Finding, Node
from lazybuild.dockerfile.shell import Expansion
from lazybuild.dockerfile.stages import Stage
from lazybuild.dockerfile.suggest import nearest
from lazybuild.dockerfile.words import Words
from lazybuild.errors import DockerfileError, Span, UsageError
from lazybuild.oci import reference

RESERVED = frozenset({"context", "scratch"})
_TARGET_PLATFORM = "TARGETPLATFORM"
_WITH_NAME = 3
"""FROM base AS name."""


@dataclass(frozen=True, slots=True)
class Found:
    """A finding, and the comments that may switch its rule off (none for rules of the file)."""

    finding: Finding
    comments: tuple[str, ...] = ()


def found(rule: str, message: str, span: Span, comments: tuple[str, ...] = ()) -> Found:
    return Found(Finding(rule=rule, message=message, span=span), comments)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextChecks:
    """`scope` are the global arguments of this build, `defaults` those of one without options."""

    document: Document
    arguments: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    words: Words
    scope: Mapping[str, str]
    defaults: Mapping[str, str] | None

    def run(self) -> Iterator[Found]:
        for node in self.document.nodes:
            yield from _node_findings(node)
        yield from _stage_names(self.stages)
        yield from _casing(self.stages)
        yield from self._default_bases()
        for stage in self.stages:
            yield from self._from_line(stage)

    def _default_bases(self) -> Iterator[Found]:
        """Base names when no `--build-arg` is given."""
        for stage in self.stages if self.defaults is not None else ():
            text = stage.opening.base
            try:
                base = self.words.expand(text, self.defaults or {})
            except DockerfileError:
                return
            if not _is_reference(base):
                message = (
                    f"Default value for ARG {text} results in empty or invalid base image name"
                )
                yield found("InvalidDefaultArgInFrom", message, stage.opening.span)

    def _from_line(self, stage: Stage) -> Iterator[Found]:
        opening = stage.opening
        try:
            base = self.words.process(opening.base, self.scope)
            platform = self.words.process(opening.platform, self.scope)
        except DockerfileError:
            return  # compiling reports it
        for message in self._undeclared([*sorted(base.unset), *sorted(platform.unset)]):
            yield found("UndefinedArgInFrom", message, opening.span, opening.node.comments)
        for rule, message in self._platform(stage, platform) if opening.platform else ():
            yield found(rule, message, opening.span, opening.node.comments)

    def _undeclared(self, names: Iterable[str]) -> Iterator[str]:
        declared = {item.name for argument in self.arguments for item in argument.items}
        known = sorted(declared | set(self.scope))
        for name in names:
            if name not in declared:
                near = nearest(name, known, case_sensitive=True)
                meant = f" (did you mean {near}?)" if near else ""
                yield f"FROM argument '{name}' is not declared{meant}"

    def _platform(self, stage: Stage, platform: Expansion) -> Iterator[tuple[str, str]]:
        text = stage.opening.platform
        target = self.scope.get(_TARGET_PLATFORM)
        if platform.used == {_TARGET_PLATFORM} and not platform.unset and platform.text == target:
            yield (
                "RedundantTargetPlatform",
                (
                    f"Setting platform to predefined {text} in FROM is redundant as this is the"
                    " default behavior"
                ),
            )
        if not platform.used and not platform.unset and _is_unnamed(platform.text, stage):
            yield (
                "FromPlatformFlagConstDisallowed",
                f"FROM --platform flag should not use constant value {quote(platform.text)}",
            )


def _is_reference(name: str) -> bool:
    try:
        reference.parse(name)
    except UsageError:
        return False
    return True


def _is_unnamed(platform: str, stage: Stage) -> bool:
    """The stage's name says nothing of the platform's system or architecture."""
    try:
        parsed = platforms.parse(platform, stage.opening.span)
    except DockerfileError:
        return False
    return parsed.os not in stage.name and parsed.architecture not in stage.name


def _node_findings(node: Node) -> Iterator[Found]:
    for rule, message in _node_messages(node):
        yield found(rule, message, node.span, node.comments)


def _node_messages(node: Node) -> Iterator[tuple[str, str]]:
    if node.keyword == "maintainer":
        yield (
            "MaintainerDeprecated",
            "Maintainer instruction is deprecated in favor of using label",
        )
    if node.keyword == "from" and len(node.args) == _WITH_NAME:
        yield from _stage_name(node, node.args[1], node.args[2])
    if node.keyword == "arg":
        yield from _description("ARG", [word.partition("=")[0] for word in node.args], node)


def _stage_name(node: Node, keyword: str, name: str) -> Iterator[tuple[str, str]]:
    if name != name.lower():
        yield "StageNameCasing", f"Stage name '{name}' should be lowercase"
    if not _same_case(node.name, keyword):
        yield "FromAsCasing", f"'{keyword}' and '{node.name}' keywords' casing do not match"
    yield from _description("FROM", [name.lower()], node)


def _same_case(first: str, second: str) -> bool:
    if first == first.lower():
        return second == second.lower()
    return first != first.upper() or second == second.upper()


def _description(keyword: str, names: list[str], node: Node) -> Iterator[tuple[str, str]]:
    """The comment above describes what it stands above, or it is none of a description."""
    if not node.comments or not names or node.comments[-1].split(" ")[0] in names:
        return
    example = names[0] if len(names) == 1 else "<arg_key>"
    yield (
        "InvalidDefinitionDescription",
        f"Comment for {keyword} should follow the format: `# {example} <description>`",
    )


def _stage_names(stages: Iterable[Stage]) -> Iterator[Found]:
    seen: set[str] = set()
    for stage in stages:
        if stage.name in RESERVED:
            message = (
                f"Stage name should not use the same name as reserved stage {quote(stage.name)}"
            )
            yield found("ReservedStageName", message, stage.opening.span)
        if stage.name in seen:
            message = f"Duplicate stage name {quote(stage.name)}, stage names should be unique"
            yield found("DuplicateStageName", message, stage.opening.span)
        if stage.name:
            seen.add(stage.name)


def _casing(stages: Iterable[Stage]) -> Iterator[Found]:
    """Instructions against the case that most of them have; global ARGs don't count."""
    nodes = [each.node for stage in stages for each in (stage.opening, *stage.steps)]
    lower = sum(node.name == node.name.lower() for node in nodes)
    upper = sum(node.name == node.name.upper() != node.name.lower() for node in nodes)
    case = "lowercase" if lower > upper else "uppercase"
    for node in nodes:
        if node.name != (node.name.lower() if lower > upper else node.name.upper()):
            message = (
                f"Command '{node.name}' should match the case of the command majority ({case})"
            )
            yield found("ConsistentInstructionCasing", message, node.span)
