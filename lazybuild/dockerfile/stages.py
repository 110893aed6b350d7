"""Stages: the instructions of a document in their stages, named, linked and reachable or not.

Pure structure: which stage builds on which and copies from which. Nothing is lowered here and no
image is looked up. Rules of names (section 4 of the reference's grammar): a later stage of the
same name hides an earlier one, names compare without case.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from lazybuild.dockerfile.decode import decode
from lazybuild.dockerfile.instructions import Arg, From, Instruction, Step
from lazybuild.dockerfile.nodes import Document
from lazybuild.errors import DockerfileError

SCRATCH = "scratch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One FROM and what follows it. `name` is in lower case, empty when not given."""

    index: int
    opening: From
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        return self.opening.stage_name

    @property
    def shown(self) -> str:
        return self.name or f"stage-{self.index}"


@dataclass(slots=True)
class _Gathering:
    arguments: list[Arg] = field(default_factory=list)
    stages: list[tuple[From, list[Step]]] = field(default_factory=list)

    def add(self, instruction: Instruction) -> None:
        if isinstance(instruction, From):
            self.stages.append((instruction, []))
        elif self.stages:
            self.stages[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            self.arguments.append(instruction)
        else:
            raise DockerfileError("no build stage in current context", span=instruction.span)


def split(document: Document) -> tuple[tuple[Arg, ...], tuple[Stage, ...]]:
    """The global ARGs and the stages of a document, decoded."""
    gathering = _Gathering()
    for node in document.nodes:
        gathering.add(decode(node))
    if not gathering.stages:
        span = document.nodes[-1].span if document.nodes else None
        raise DockerfileError("dockerfile contains no stages to build", span=span)
    stages = tuple(
        Stage(index=index, opening=opening, steps=tuple(steps))
        for index, (opening, steps) in enumerate(gathering.stages)
    )
    return tuple(gathering.arguments), stages


def description(comments: Iterable[str], name: str) -> str:
    """What a comment of the form `<name> text` above an ARG or a FROM … AS says of it."""
    for line in comments if name else ():
        if line.startswith(f"{name} "):
            return line[len(name) + 1 :]
    return ""
