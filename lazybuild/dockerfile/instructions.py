"""Typed instructions: a closed union of frozen values, one class for each thing a Dockerfile says.

Words are kept as written; expansion happens in the lowering, when the environment is known.
Each holds the node it was made from, for its place, its text and its comments. No I/O.
"""

from dataclasses import dataclass

from lazybuild.dockerfile.flags import Value
from lazybuild.dockerfile.nodes import Heredoc, Node
from lazybuild.errors import Span
from lazybuild.llb.ops import NetworkMode, SecurityMode
from lazybuild.oci.image import Healthcheck as Health


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What every instruction has."""

    node: Node

    @property
    def span(self) -> Span:
        return self.node.span

    @property
    def text(self) -> str:
        return self.node.original.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command line: the strings of a JSON array, or (with `in_shell`) one text for the shell."""

    args: tuple[str, ...]
    in_shell: bool
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """NAME or NAME=default of an ARG."""

    name: str
    default: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """NAME=value of an ENV or LABEL; `legacy` when written with a blank instead of `=`."""

    name: str
    value: str
    legacy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Base):
    base: str
    stage_name: str = ""
    platform: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Base):
    items: tuple[Variable, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Base):
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Base):
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Base):
    """`mounts` are the texts of the flags: they hold variables, so they are read when lowered."""

    command: Command
    mounts: tuple[Value, ...] = ()
    network: NetworkMode = NetworkMode.UNSET
    security: SecurityMode = SecurityMode.SANDBOX
    network_span: Span | None = None
    security_span: Span | None = None
    lone_heredoc: bool = False
    """The command line is nothing but one `<<NAME`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Base):
    """COPY, or ADD with `add`. `inline` are files written as heredocs."""

    sources: tuple[str, ...]
    dest: str
    inline: tuple[Heredoc, ...] = ()
    add: bool = False
    source_stage: str = ""
    source_span: Span | None = None
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Base):
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Base):
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(Base):
    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(Base):
    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Base):
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Base):
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Base):
    args: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal(Base):
    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck(Base):
    health: Health


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Base):
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBuild(Base):
    """`trigger` is the text that the image keeps."""

    trigger: str


Step = (
    Arg
    | Env
    | Label
    | Run
    | Copy
    | Workdir
    | User
    | Cmd
    | Entrypoint
    | Expose
    | Volume
    | Shell
    | StopSignal
    | Healthcheck
    | Maintainer
    | OnBuild
)
Instruction = From | Step
