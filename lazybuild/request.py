"""What is asked of a build and what comes of it, as values. No I/O; knows no engine.

The command line makes a `BuildRequest`, `build` answers with a `BuildResult`.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from lazybuild.registry.config import RegistryConfig

ALL_STAGES = ("*",)

# Told of a step that failed, by name; the function runs a shell in it on a terminal (a file
# descriptor) and says why there is none, or nothing.
OnFailure = Callable[[str, Callable[[int], str]], None]


class Pull(StrEnum):
    """Whether registries are asked for images: even for those that are here, for the others, never
    at all.
    """

    ALWAYS = "always"
    MISSING = "missing"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One `-o`: `type` is image, registry, oci, docker, local, tar or load.

    `dest` is a path, "-" is standard output. `options` holds what the type has beyond that.
    """

    type: str
    dest: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A secret that steps may ask for by `id`, from a file or from the environment."""

    id: str
    file: str = ""
    env: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshAgent:
    """An agent socket that steps may use under `id`, or private keys to serve instead."""

    id: str
    socket: str = ""
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSpec:
    """One `--cache-from` or `--cache-to`: `type` is registry, local or inline, `place` a reference
    or a directory. `strict` makes its failure one of the build.
    """

    type: str
    place: str = ""
    mode: str = "min"
    tag: str = "latest"
    digest: str = ""
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """A BuildKit that builds instead of this machine. The files are for TLS over tcp://."""

    address: str
    ca: str = ""
    cert: str = ""
    key: str = ""
    server_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """One build. Empty means "not given" throughout.

    `dockerfile` "-" reads it from `stdin`; `frontend` is the image that compiles it, whatever it
    says. `context` may be a directory, "-" or a URL. `no_cache` holds stage names, `ALL_STAGES`
    means every one. `epoch` is in seconds. Access profiles come from and go to a repository, the
    base image's unless another is named; "off" is none. `provenance` is min or max.
    """

    root: Path
    context: str = "."
    dockerfile: str = ""
    frontend: str = ""
    stdin: bytes = b""
    tags: tuple[str, ...] = ()
    target: str = ""
    platforms: tuple[str, ...] = ()
    build_args: Mapping[str, str] = field(default_factory=dict)
    build_contexts: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: tuple[str, ...] = ()
    no_cache: tuple[str, ...] = ()
    cache_from: tuple[CacheSpec, ...] = ()
    cache_to: tuple[CacheSpec, ...] = ()
    cache_strict: bool = False
    cache_mounts_from: tuple[CacheSpec, ...] = ()
    cache_mounts_to: tuple[CacheSpec, ...] = ()
    explain: bool = False
    sbom: bool = False
    provenance: str = ""
    pull: Pull = Pull.MISSING
    ignorefile: str = ""
    network: str = ""
    add_hosts: tuple[str, ...] = ()
    shm_size: int = 0
    ulimits: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    ssh: tuple[SshAgent, ...] = ()
    outputs: tuple[Output, ...] = ()
    compression: str = ""
    epoch: int | None = None
    rewrite_timestamp: bool | None = None
    prefetch: bool = True
    require_lazy: bool = False
    allow_unverified: bool = False
    convert_base: bool = False
    background_fetch: bool = False
    profile_from: str = ""
    profile_to: str = ""
    isolation: str = ""
    jobs: int = 0
    registries: RegistryConfig = field(default_factory=RegistryConfig)
    builders: tuple[Builder, ...] = ()
    keep_storage: int = 0
    on_failure: OnFailure | None = None
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One of several builds that are done in one go. `links` are named contexts that are other
    targets, by name; these come before it. The only build of a command has no name.
    """

    name: str = ""
    request: BuildRequest
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStats:
    """How one layer of the result or its bases was had. Sizes in bytes; `bytes_read` is the
    compressed size of the chunks that were read of a lazy one, whose TOC is not counted.
    `fetched_for` tells for what reason its chunks were fetched (asked, ahead, prefetch, expected,
    speculation, later, fill), `used_of` how much of that was read.
    """

    digest: str
    mode: str
    reason: str = ""
    size: int = 0
    bytes_fetched: int = 0
    requests: int = 0
    bytes_read: int = 0
    fetched_for: Mapping[str, int] = field(default_factory=dict)
    used_of: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStats:
    """A step; `bytes_fetched` and `requests` are those of all base layers while it ran."""

    name: str
    cached: bool
    seconds: float
    bytes_fetched: int = 0
    requests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefetchStats:
    """What stands before the landmark of a layer, and which sources named it."""

    digest: str
    files: int
    bytes: int
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStats:
    """The numbers of a build, as `lazybuild.stats` of the metadata file shows them."""

    tier: str
    wall_seconds: float
    bytes_fetched: int = 0
    requests: int = 0
    layers: tuple[LayerStats, ...] = ()
    steps: tuple[StepStats, ...] = ()
    prefetch: tuple[PrefetchStats, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """What a build made: digests, names, the descriptor as JSON, and its numbers. `config_digest`
    is "" for an index, which has none.
    """

    digest: str
    config_digest: str
    descriptor: Mapping[str, object]
    names: tuple[str, ...]
    stats: BuildStats
    platform: str = ""

    @property
    def image_id(self) -> str:
        """What BuildKit's clients call so: the config's digest, of an index its own."""
        return self.config_digest or self.digest
