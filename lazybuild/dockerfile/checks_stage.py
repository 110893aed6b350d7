"""The checks that follow the steps of a stage, with as much of its environment as the file tells.

What a base image adds to the environment isn't known here. A word that uses a name which only
such an image could have set is unknown, and rules pass over it. Pure.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
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
from lazybuild.dockerfile.shell import Expansion
from lazybuild.dockerfile.stages import SCRATCH, Stage
from lazybuild.dockerfile.words import Words
from lazybuild.errors import DockerfileError

_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)

Message = tuple[str, str]
"""A rule and what it says."""


@dataclass(slots=True, kw_only=True)
class _State:
    """A stage as far as its steps have been looked at."""

    env: dict[str, str] = field(default_factory=dict)
    whole: bool = False
    """The environment is known completely."""
    shell_set: bool = False
    workdir_set: bool = False
    last: dict[str, Step] = field(default_factory=dict)

    def child(self) -> "_State":
        return _State(
            env=dict(self.env),
            whole=self.whole,
            shell_set=self.shell_set,
            workdir_set=self.workdir_set,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StageChecks:
    """`scope` are the global arguments; `ignored` the rules of the main context's ignore file."""

    stages: tuple[Stage, ...]
    words: Words
    scope: Mapping[str, str]
    build_args: Mapping[str, str]
    ignored: IgnoreRules

    def run(self) -> Iterator[tuple[int, Found]]:
        """With the number of the stage that each finding belongs to."""
        named: dict[str, _State] = {}
        for stage in self.stages:
            state = self._begin(stage, named)
            for step in stage.steps:
                for each in self._step(step, state):
                    yield stage.index, each
            if stage.name:
                named[stage.name] = state

    def _begin(self, stage: Stage, named: Mapping[str, _State]) -> _State:
        base = self._expand(stage.opening.base, _State(env=dict(self.scope), whole=True)) or ""
        if base.lower() in named:
            return named[base.lower()].child()
        return _State(whole=base == SCRATCH)

    def _step(self, step: Step, state: _State) -> Iterator[Found]:
        comments = step.node.comments
        for rule, message in self._messages(step, state):
            yield found(rule, message, step.span, comments)
        match step:
            case Cmd() | Entrypoint() | Healthcheck():
                yield from _repeated(step, state)
            case Arg():
                self._declare(step, state)
            case Env():
                self._set(step, state)
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
                yield from self._workdir(step, state)
            case Expose():
                yield from self._expose(step, state)
            case Copy():
                yield from self._copied(step, state)

    def _workdir(self, step: Workdir, state: _State) -> Iterator[Message]:
        path = self._expand(step.path, state)
        if path is None or state.workdir_set or path.startswith("/"):
            return
        message = (
            f"Relative workdir {quote(path)} can have unexpected results if the base image changes"
        )
        yield "WorkdirRelativePath", message

    def _expose(self, step: Expose, state: _State) -> Iterator[Message]:
        for text in step.ports:
            expansion = self._known(text, state)
            for port in expansion.words if expansion else ():
                yield from _port(port)

    def _copied(self, step: Copy, state: _State) -> Iterator[Message]:
        """Sources that the ignore file leaves out; with exceptions in it nothing is certain."""
        if step.source_stage or not self.ignored.rules or self.ignored.has_exceptions:
            return
        for text in step.sources:
            source = self._expand(text, state)
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

    def _declare(self, step: Arg, state: _State) -> None:
        for item in step.items:
            if item.name in self.build_args:
                value: str | None = self.build_args[item.name]
            elif item.default is None:
                value = self.scope.get(item.name, state.env.get(item.name))
            else:
                value = self._expand(item.default, state)
            _assign(state.env, item.name, value)

    def _set(self, step: Env, state: _State) -> None:
        values = [(pair.name, self._expand(pair.value, state)) for pair in step.pairs]
        for name, value in values:
            _assign(state.env, name, value)

    def _expand(self, text: str, state: _State) -> str | None:
        expansion = self._known(text, state)
        return None if expansion is None else expansion.text

    def _known(self, text: str, state: _State) -> Expansion | None:
        """None when it fails (compiling reports that) or depends on what a base image sets."""
        try:
            expansion = self.words.process(text, state.env)
        except DockerfileError:
            return None
        return expansion if state.whole or not expansion.unset else None


def _assign(env: dict[str, str], name: str, value: str | None) -> None:
    env.pop(name, None)
    if value is not None:
        env[name] = value


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
        if _SECRET.search(name) and not _NO_SECRET.search(name):
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
