"""The environment of a stage as far as the file itself tells, for checks and listings. No I/O.

What a base image sets isn't known here. `whole` says that nothing is missing (the stage goes back
to scratch); otherwise a word with a name that is not set may still mean something.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lazybuild.dockerfile.instructions import Arg, Env
from lazybuild.dockerfile.shell import Expansion
from lazybuild.dockerfile.stages import SCRATCH, Stage
from lazybuild.dockerfile.words import Words
from lazybuild.errors import DockerfileError


@dataclass(frozen=True, slots=True, kw_only=True)
class Globals:
    """What all stages share: global arguments with their values, and `--build-arg`."""

    words: Words
    scope: Mapping[str, str]
    build_args: Mapping[str, str]

    def process(self, text: str) -> Expansion | None:
        """A word of a FROM line; None when it can't be expanded."""
        try:
            return self.words.process(text, self.scope)
        except DockerfileError:
            return None


@dataclass(slots=True, kw_only=True)
class StageScope:
    """Grows with the ARG and ENV of a stage, in their order."""

    shared: Globals
    env: dict[str, str] = field(default_factory=dict)
    whole: bool = False

    def declare(self, step: Arg) -> None:
        for item in step.items:
            self._assign(item.name, self.value(item.name, item.default))

    def value(self, name: str, default: str | None) -> str | None:
        """Of an ARG; None when it is not set, or not known."""
        if name in self.shared.build_args:
            return self.shared.build_args[name]
        if default is None:
            return self.shared.scope.get(name, self.env.get(name))
        return self.expand(default)

    def assign(self, step: Env) -> None:
        values = [(pair.name, self.expand(pair.value)) for pair in step.pairs]
        for name, value in values:
            self._assign(name, value)

    def expand(self, text: str) -> str | None:
        expansion = self.known(text)
        return None if expansion is None else expansion.text

    def known(self, text: str) -> Expansion | None:
        """None when it fails (compiling reports that) or depends on what a base image sets."""
        try:
            expansion = self.shared.words.process(text, self.env)
        except DockerfileError:
            return None
        return expansion if self.whole or not expansion.unset else None

    def _assign(self, name: str, value: str | None) -> None:
        self.env.pop(name, None)
        if value is not None:
            self.env[name] = value


def stage_scopes(
    stages: tuple[Stage, ...], shared: Globals
) -> Iterator[tuple[Stage, int | None, StageScope]]:
    """Each stage with the number of the stage it builds on, and the scope it begins with.

    Whoever iterates feeds the scope before asking for the next stage, which may inherit it.
    """
    scopes: dict[str, tuple[int, StageScope]] = {}
    for stage in stages:
        base = shared.process(stage.opening.base)
        number, parent = scopes.get(base.text.lower() if base else "", (None, None))
        scope = StageScope(
            shared=shared,
            env=dict(parent.env) if parent else {},
            whole=parent.whole if parent else base is not None and base.text == SCRATCH,
        )
        yield stage, number, scope
        if stage.name:
            scopes[stage.name] = (stage.index, scope)
