"""A stage while it is lowered: its file system so far, its environment, its config, its history.

The only mutable thing in the compiler. Knows no instruction; the `lower_*` modules write into it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import log10
from typing import TypedDict, Unpack

from lazybuild.dockerfile import paths, platforms, sensitive
from lazybuild.dockerfile.excerpt import masked
from lazybuild.dockerfile.instructions import Copy, Run, Step, Variable, Workdir
from lazybuild.dockerfile.options import ResolvedImage
from lazybuild.dockerfile.stages import Stage
from lazybuild.errors import Span
from lazybuild.llb.graph import Edge, VertexOptions
from lazybuild.llb.ops import Platform
from lazybuild.oci.image import ContainerConfig, Healthcheck, History, ImageConfig

COMMENT = "buildkit.dockerfile.v0"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ROOT = "/"


class ConfigChanges(TypedDict, total=False):
    user: str
    exposed_ports: tuple[str, ...]
    env: tuple[str, ...]
    entrypoint: tuple[str, ...] | None
    cmd: tuple[str, ...] | None
    volumes: tuple[str, ...]
    working_dir: str
    labels: Mapping[str, str]
    stop_signal: str
    args_escaped: bool
    healthcheck: Healthcheck | None
    on_build: tuple[str, ...]
    shell: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A step and the drafts it takes files from, one for each mount or `--from`."""

    step: Step
    sources: "tuple[Draft | None, ...]" = ()
    triggered: bool = False
    """It comes from an ONBUILD of the base."""


@dataclass(slots=True, kw_only=True, eq=False)
class Draft:
    """A stage, or (with `stage` None) an image or context that a step takes files from."""

    base_name: str
    span: Span
    stage: Stage | None = None
    shown: str = ""
    platform: Platform | None = None
    base: "Draft | None" = None
    steps: list[Planned] = field(default_factory=list)
    needs: "dict[Draft, Span]" = field(default_factory=dict)

    edge: Edge | None = None
    image: ImageConfig = field(default_factory=ImageConfig)
    resolved: ResolvedImage | None = None
    base_history: int = 0
    env: dict[str, str] = field(default_factory=dict)
    args: list[Variable] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    """What others use of this stage's files."""
    context_name: str = ""
    """The named context that stands in for the whole stage."""
    has_cmd: bool = False
    ignore_cache: bool = False
    digest: str = ""
    ready: bool = False
    """`edge` and `image` are final."""
    total: int = 0
    done: int = 0
    marked_platform: bool = False

    def __hash__(self) -> int:
        return id(self)

    @property
    def config(self) -> ContainerConfig:
        return self.image.config

    @property
    def cwd(self) -> str:
        return self.image.config.working_dir or ROOT

    def settle(self) -> None:
        """Digest the newest vertex now: at the end it would recurse over the whole chain."""
        self.digest = self.edge.vertex.digest if self.edge else ""

    def count_steps(self) -> None:
        """How many numbered steps there are: the base image and what makes layers."""
        makes = sum(isinstance(planned.step, Run | Copy | Workdir) for planned in self.steps)
        self.total = makes + (self.base is None and self.base_name != "scratch")

    def change(self, **changes: Unpack[ConfigChanges]) -> None:
        self.image = replace(self.image, config=replace(self.image.config, **changes))

    def author(self, name: str) -> None:
        self.image = replace(self.image, author=name)

    def record(self, created_by: str, *, layer: bool = False) -> None:
        """One more line of history."""
        line = History(created_by=created_by, comment=COMMENT, empty_layer=not layer)
        self.image = replace(self.image, history=(*self.image.history, line))

    def set_env(self, name: str, value: str) -> None:
        """For the steps; the newest name stands last."""
        self.env.pop(name, None)
        self.env[name] = value

    def export_env(self, name: str, value: str) -> None:
        """For the image; a name keeps its place."""
        kept = list(self.config.env)
        names = [pair.partition("=")[0] for pair in kept]
        if name in names:
            kept[names.index(name)] = f"{name}={value}"
        else:
            kept.append(f"{name}={value}")
        self.change(env=tuple(kept))

    def start(self) -> None:
        """Take over what the image says of environment and directory."""
        names = [pair.partition("=")[0] for pair in self.config.env]
        if "PATH" not in names and not (self.platform and self.platform.os == "windows"):
            self.change(env=(*self.config.env, f"PATH={DEFAULT_PATH}"))
        if self.config.working_dir:
            self.change(working_dir=paths.absolute(ROOT, self.config.working_dir))
        for pair in self.config.env:
            name, _, value = pair.partition("=")
            self.set_env(name, value)

    def title(self, text: str, *, triggered: bool = False) -> str:
        """`[dev 3/5] text`, counting one step further."""
        given = {variable.name: variable.default or "" for variable in self.args}
        text = sensitive.hide(masked(text), sensitive.values([given]))
        if not self.total:
            return text
        self.done += 1
        marks = ""
        if self.marked_platform and self.platform is not None:
            marks = platforms.label(self.platform, self.env) + " "
        if self.shown:
            marks += f"{self.shown} "
        width = int(1 + log10(self.total))
        on_build = "ONBUILD " if triggered else ""
        return f"[{marks}{self.done:>{width}}/{self.total}] {on_build}{text}"

    def options(self, name: str, step: Step, *, cached: bool = False) -> VertexOptions:
        """`cached` steps are exempt from `no_cache`."""
        ignore = self.ignore_cache and not cached
        command = masked(step.text)
        return VertexOptions(name=name, command=command, spans=(step.span,), ignore_cache=ignore)
