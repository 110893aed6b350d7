"""What a build is told: the options of BUILDKIT_FRONTEND_OPT_*, by name. No I/O.

The only module that knows the environment. Reference: facts of moby/buildkit
frontend/dockerui/config.go.
"""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from lazybuild.dockerfile.platforms import from_oci
from lazybuild.errors import UsageError
from lazybuild.llb.ops import NetworkMode, Platform, Ulimit
from lazybuild.oci import platform as oci
from lazybuild.wire.encode import Resources
from lazybuild.wire.gateway import CacheImport

OPTION = "BUILDKIT_FRONTEND_OPT_"
SESSION = "BUILDKIT_SESSION_ID"
TRUE = frozenset({"1", "t", "true", "y", "yes"})
CAPABILITIES = frozenset(
    {
        "moby.buildkit.frontend.inputs",
        "moby.buildkit.frontend.subrequests",
        "moby.buildkit.frontend.contexts",
        "moby.buildkit.frontend.gitquerystring",
    }
)
_NETWORKS = {
    "": NetworkMode.UNSET,
    "default": NetworkMode.UNSET,
    "sandbox": NetworkMode.UNSET,
    "host": NetworkMode.HOST,
    "none": NetworkMode.NONE,
}
_REMOVED = ("override-copy-image", "build-arg:BUILDKIT_DISABLE_FILEOP")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options as they came, and readings of them. Raises UsageError for what makes no sense."""

    values: Mapping[str, str] = field(default_factory=dict)
    session: str = ""
    own_env: tuple[str, ...] = ()
    """What this program needs in its environment, to run itself again in a step."""

    def text(self, key: str, default: str = "") -> str:
        return self.values.get(key) or default

    def below(self, prefix: str) -> dict[str, str]:
        """What options of one kind say, by the rest of their names."""
        found = {k: v for k, v in self.values.items() if k.startswith(prefix)}
        return {key.removeprefix(prefix): value for key, value in sorted(found.items())}

    @property
    def build_args(self) -> dict[str, str]:
        return self.below("build-arg:")

    @property
    def context_key(self) -> str:
        return self.text("contextkey", "context")

    @property
    def dockerfile_key(self) -> str:
        """The local that holds the Dockerfile; "" when nobody says, and the context may."""
        return self.text("dockerfilekey")

    @property
    def filename(self) -> str:
        return self.text("filename", "Dockerfile")

    @property
    def context(self) -> str:
        """The main context where it is no directory of the client's."""
        return self.text(self.context_key)

    @property
    def contexts(self) -> dict[str, str]:
        return self.below("context:")

    @property
    def no_cache(self) -> frozenset[str] | None:
        if "no-cache" not in self.values:
            return None
        return frozenset(name for name in self.values["no-cache"].split(",") if name)

    @property
    def platforms(self) -> tuple[Platform, ...]:
        names = [name for name in self.text("platform").split(",") if name]
        return tuple(from_oci(oci.parse(name)) for name in names)

    @property
    def multi_platform(self) -> bool:
        given = self.text("multi-platform", self.build_args.get("BUILDKIT_MULTI_PLATFORM", ""))
        return given.lower() in TRUE or len(self.platforms) > 1

    @property
    def network(self) -> NetworkMode:
        mode = self.text("force-network-mode")
        if mode not in _NETWORKS:
            raise UsageError(f"invalid force-network-mode {mode!r}")
        return _NETWORKS[mode]

    @property
    def add_hosts(self) -> tuple[tuple[str, str], ...]:
        pairs = (item.partition("=") for item in _row(self.text("add-hosts")))
        return tuple((name, address) for name, _, address in pairs)

    @property
    def ulimits(self) -> tuple[Ulimit, ...]:
        return tuple(_ulimit(item) for item in _row(self.text("ulimit")))

    @property
    def shm_size(self) -> int:
        return self.number("shm-size")

    @property
    def resources(self) -> Resources:
        return Resources(
            memory=self.number("memory"),
            memory_swap=self.number("memswap"),
            cpu_shares=self.number("cpushares"),
            cpu_period=self.number("cpuperiod"),
            cpu_quota=self.number("cpuquota"),
            cpuset_cpus=self.text("cpusetcpus"),
            cpuset_mems=self.text("cpusetmems"),
        )

    @property
    def cache_imports(self) -> tuple[CacheImport, ...]:
        legacy = (name.strip() for name in self.text("cache-from").split(","))
        old = tuple(("registry", {"ref": name}) for name in legacy if name)
        return (*old, *_imports(self.text("cache-imports")))

    @property
    def resolve_mode(self) -> str:
        mode = self.text("image-resolve-mode", "default")
        if mode not in ("default", "pull", "local"):
            raise UsageError(f"invalid image-resolve-mode: {mode}")
        return mode

    def number(self, key: str) -> int:
        value = self.text(key, "0")
        try:
            return int(value)
        except ValueError as error:
            raise UsageError(f"{key}: {value!r} is not a number") from error

    def session_of(self, local: str) -> str:
        return self.text(f"local-sessionid:{local}", self.session)

    def check(self) -> None:
        """Refuse what was taken back from the protocol."""
        for key in _REMOVED:
            if key in self.values:
                raise UsageError(f"{key} is no longer supported")

    def unknown_capabilities(self) -> tuple[str, ...]:
        """What the client needs of a frontend and this one hasn't got."""
        wanted = (name.strip() for name in self.text("frontend.caps").split(","))
        plain = (name.removesuffix("+forward") for name in wanted)
        return tuple(name for name in plain if name and name not in CAPABILITIES)


def read(environment: Mapping[str, str]) -> Options:
    """The numbered variables, each NAME=VALUE; which number is of no meaning."""
    found = (value for name, value in environment.items() if name.startswith(OPTION))
    pairs = (value.partition("=") for value in found)
    return Options(
        values={name: value for name, _, value in pairs},
        session=environment.get(SESSION, ""),
        own_env=tuple(f"{n}={v}" for n, v in environment.items() if n.startswith("PYTHON")),
    )


def _row(text: str) -> list[str]:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise UsageError(f"{text!r} is not a list: {error}") from error
    return [item for row in rows for item in row if item]


def _ulimit(item: str) -> Ulimit:
    name, _, values = item.partition("=")
    soft, _, hard = values.partition(":")
    try:
        return Ulimit(name=name, soft=int(soft), hard=int(hard or soft))
    except ValueError as error:
        raise UsageError(f"ulimit: {item!r} is not NAME=SOFT[:HARD]") from error


def _imports(text: str) -> tuple[CacheImport, ...]:
    if not text:
        return ()
    try:
        entries = json.loads(text)
        return tuple((str(entry["Type"]), _attrs(entry.get("Attrs"))) for entry in entries)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError("cache-imports is not a list of caches") from error


def _attrs(value: Mapping[str, object] | None) -> dict[str, str]:
    return {str(name): str(text) for name, text in (value or {}).items()}
