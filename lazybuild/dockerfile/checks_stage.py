"""The checks that follow the steps of a stage, with as much of its environment as the file tells.

A word that uses a name which only a base image could have set is unknown (see `scope`), and rules
pass over it. Pure.
"""

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lazybuild.dockerfile.checks_text import Found, found
from lazybuild.dockerfile.dump import quote
from lazybuild.dockerfile.giturl import parse_git
from lazybuild.dockerfile.ignore import IgnoreRules
from lazybuild.dockerfile.instructions import (
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    Shell,
    Step,
    Workdir,
)
from lazybuild.dockerfile.scope import Globals, StageScope, stage_scopes
from lazybuild.dockerfile.sensitive import looks_secret
from lazybuild.dockerfile.stages import Stage

Message = tuple[str, str]
"""A rule and what it says."""


@dataclass(slots=True, kw_only=True)
class _State:
    """A stage as far as its steps have been looked at."""

    scope: StageScope
    shell_set: bool = False
    workdir_set: bool = False
    last: dict[str, Step] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageChecks:
    """`ignored` are the rules of the main context's ignore file."""

    stages: tuple[Stage, ...]
    shared: Globals
    ignored: IgnoreRules

    def run(self) -> Iterator[tuple[int, Found]]:
        """With the number of the stage that each finding belongs to."""
        states: list[_State] = []
        for stage, base, scope in stage_scopes(self.stages, self.shared):
            state = _State(scope=scope)
            if base is not None:
                state.shell_set = states[base].shell_set
                state.workdir_set = states[base].workdir_set
            for step in stage.steps:
                for each in self._step(step, state):
                    yield stage.index, each
            states.append(state)

    def _step(self, step: Step, state: _State) -> Iterator[Found]:
        comments = step.node.comments
        for rule, message in self._messages(step, state):
            yield found(rule, message, step.span, comments)
        match step:
            case Cmd() | Entrypoint() | Healthcheck():
                yield from _repeated(step, state)
            case Arg():
                state.scope.declare(step)
            case Env():
                state.scope.assign(step)
            case Shell():
                state.shell_set = True
            case Workdir():
                state.workdir_set = True

    def _messages(self, step: Step, state: _State) -> Iterator[Message]:
        match step:
            case Arg():
                yield from _secrets("ARG", (item.name for item in step.items))
            case Env():
                yield from _legacy(step)
                yield from _secrets("ENV", (pair.name for pair in step.pairs))
            case Label():
                yield from _legacy(step)
            case Cmd() | Entrypoint():
                yield from _shell_form(step, state)
            case Workdir():
                yield from _workdir(step, state)
            case Expose():
                yield from _expose(step, state)
            case Copy():
                yield from self._copied(step, state)

    def _copied(self, step: Copy, state: _State) -> Iterator[Message]:
        """Sources that the ignore file leaves out; with exceptions in it nothing is certain."""
        if step.source_stage or not self.ignored.rules or self.ignored.has_exceptions:
            return
        for text in step.sources:
            source = state.scope.expand(text)
            if source is None or (step.add and _is_remote(source)):
                continue
            path = posixpath.normpath(source) if source else "."
            root = path in {".", "/"}
            if (self.ignored.takes_everything or not root) and self.ignored.excludes(path):
                verb = "Add" if step.add else "Copy"
                message = (
                    f"Attempting to {verb} file {quote(path)} that is excluded by .dockerignore"
                )
                yield "CopyIgnoredFile", message


def _workdir(step: Workdir, state: _State) -> Iterator[Message]:
    path = state.scope.expand(step.path)
    if path is None or state.workdir_set or path.startswith("/"):
        return
    message = (
        f"Relative workdir {quote(path)} can have unexpected results if the base image changes"
    )
    yield "WorkdirRelativePath", message


def _expose(step: Expose, state: _State) -> Iterator[Message]:
    for text in step.ports:
        expansion = state.scope.known(text)
        for port in expansion.words if expansion else ():
            yield from _port(port)


def _repeated(step: Step, state: _State) -> Iterator[Found]:
    """The earlier one is the one that has no effect, so it is the place."""
    earlier = state.last.get(step.node.keyword)
    state.last[step.node.keyword] = step
    if earlier is not None:
        message = (
            f"Multiple {step.node.name} instructions should not be used in the same stage because"
            " only the last one will be used"
        )
        yield found("MultipleInstructionsDisallowed", message, earlier.span, step.node.comments)


def _secrets(keyword: str, names: Iterable[str]) -> Iterator[Message]:
    for name in names:
        if looks_secret(name):
            yield (
                "SecretsUsedInArgOrEnv",
                f"Do not use ARG or ENV instructions for sensitive data ({keyword} {quote(name)})",
            )


def _legacy(step: Env | Label) -> Iterator[Message]:
    name = step.node.name
    for pair in step.pairs:
        if pair.legacy:
            yield (
                "LegacyKeyValueFormat",
                f'"{name} key=value" should be used instead of legacy "{name} key value" format',
            )


def _shell_form(step: Cmd | Entrypoint, state: _State) -> Iterator[Message]:
    if step.command.in_shell and not state.shell_set:
        yield (
            "JSONArgsRecommended",
            (
                f"JSON arguments recommended for {step.node.name} to prevent unintended behavior"
                " related to OS signals"
            ),
        )


def _port(text: str) -> Iterator[Message]:
    protocol = text.rpartition(":")[2].partition("/")[2]
    if protocol != protocol.lower():
        yield (
            "ExposeProtoCasing",
            f"Defined protocol '{text}' in EXPOSE instruction should be lowercase",
        )
    if text.rpartition(":")[0]:
        yield (
            "ExposeInvalidFormat",
            (
                "EXPOSE instruction should not define an IP address or host-port mapping, found"
                f" '{text}'"
            ),
        )


def _is_remote(source: str) -> bool:
    if source.startswith(("http://", "https://")):
        return True
    try:
        return parse_git(source) is not None
    except ValueError:
        return True
