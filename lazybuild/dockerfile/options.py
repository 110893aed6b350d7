"""What a compilation is given and what it gives back. Values and one Protocol; no I/O."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from lazybuild.dockerfile.nodes import Finding
from lazybuild.errors import Span
from lazybuild.llb.graph import Edge
from lazybuild.llb.ops import NetworkMode, Platform, SourceOp, Ulimit
from lazybuild.oci.digest import Digest
from lazybuild.oci.image import ImageConfig

MAIN_CONTEXT = "context"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedImage:
    """An image that was found: its full name, the manifest's digest for the platform, its config.

    An empty digest is right for an image that no registry knows (an unpinned local one).
    """

    reference: str
    digest: Digest | None
    config: ImageConfig


class Resolver(Protocol):
    """Where base images come from. Raises LazybuildError when there is none."""

    def image(self, reference: str, platform: Platform) -> ResolvedImage:
        """`reference` is a full name, or where an image lies (`oci.transport`)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendInput:
    """A named context that is a graph already (`input:<key>` of the frontend protocol).

    `base` is the image that the graph itself starts from, where that is known.
    """

    head: Edge | None
    config: ImageConfig | None = None
    base: ResolvedImage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileOptions:
    """`platform` None means that of this machine, and lets a base image's own decide.

    `no_cache` None uses the cache everywhere, an empty set nowhere, else not in the stages named.
    `context` is `local:<name>`, a git URL, an http(s) URL or `input:<key>`, and `origin` then the
    git or http source that the input was made from.
    `contexts` maps NAME or NAME::PLATFORM to a source of the same forms (or docker-image://,
    oci-layout://). `ignored` are the patterns of the main context's ignore file, `ignored_in`
    those of other local contexts by name. `allow` holds entitlements. `epoch` is
    SOURCE_DATE_EPOCH, when the caller has resolved it; `source_time` tells when a git or http
    source was made (seconds), for a SOURCE_DATE_EPOCH that names a source.
    """

    build_platform: Platform
    platform: Platform | None = None
    other_platforms: tuple[Platform, ...] = ()
    multi_platform: bool = False
    build_args: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    no_cache: frozenset[str] | None = None
    network: NetworkMode = NetworkMode.UNSET
    add_hosts: tuple[tuple[str, str], ...] = ()
    shm_size: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    hostname: str = ""
    cgroup_parent: str = ""
    epoch: int | None = None
    context: str = f"local:{MAIN_CONTEXT}"
    origin: SourceOp | None = None
    contexts: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, FrontendInput] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    ignored_in: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cache_namespace: str = ""
    allow: frozenset[str] = frozenset()
    source_time: Callable[[SourceOp], int | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageInfo:
    """A stage of the file, for listings and suggestions. `base` is expanded."""

    name: str
    base: str
    platform: str = ""
    description: str = ""
    span: Span
    reachable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """The graph of one target for one platform. `head` None is an empty file system.

    `config` holds the history, without times; `base_history` says how much of it came with the
    base image. `locals` maps each local source to the paths that are used of it; an empty tuple
    means all of it. `warnings` are the parser's findings and those that need an environment or a
    base image to be seen (UndefinedVar, InvalidBaseImagePlatform).
    """

    head: Edge | None
    config: ImageConfig
    platform: Platform
    stage: str
    stages: tuple[StageInfo, ...]
    base_history: int = 0
    base: ResolvedImage | None = None
    locals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[Finding, ...] = ()
    epoch: int | None = None
