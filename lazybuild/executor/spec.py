"""What a step is, as values: the seam between the solver's ops and the sandbox.

Checks itself: a value that exists can be handed to the sandbox. No I/O.
"""

import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lazybuild.errors import BuildError
from lazybuild.executor.host import ORDINARY, Host
from lazybuild.llb.ops import NetworkMode, SecurityMode

HOSTNAME: Final = "buildkitsandbox"
SHM_SIZE: Final = 64 * 1024 * 1024
KERNEL_DIRECTORIES: Final = ("/proc", "/sys")

_ULIMITS: Final = {
    "core": resource.RLIMIT_CORE,
    "cpu": resource.RLIMIT_CPU,
    "data": resource.RLIMIT_DATA,
    "fsize": resource.RLIMIT_FSIZE,
    "locks": 10,  # RLIMIT_LOCKS, which Python does not name
    "memlock": resource.RLIMIT_MEMLOCK,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nice": resource.RLIMIT_NICE,
    "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC,
    "rss": resource.RLIMIT_RSS,
    "rtprio": resource.RLIMIT_RTPRIO,
    "rttime": resource.RLIMIT_RTTIME,
    "sigpending": resource.RLIMIT_SIGPENDING,
    "stack": resource.RLIMIT_STACK,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BindMount:
    """`selector` is a path inside `source`, resolved as if `source` were the root. Where nothing
    can be mounted, a `movable` source is moved into the root while the step runs.
    """

    source: Path
    dest: str
    readonly: bool = False
    movable: bool = False
    selector: str = ""

    def __post_init__(self) -> None:
        _check_dest(self.dest)


@dataclass(frozen=True, slots=True, kw_only=True)
class TmpfsMount:
    """`size` in bytes; 0 is the kernel's default, half the memory."""

    dest: str
    size: int = 0

    def __post_init__(self) -> None:
        _check_dest(self.dest)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMount:
    """A file that exists in memory only: secrets, resolv.conf."""

    dest: str
    data: bytes = field(repr=False)
    mode: int = 0o400
    uid: int = 0
    gid: int = 0
    readonly: bool = False

    def __post_init__(self) -> None:
        _check_dest(self.dest)


StepMount = BindMount | TmpfsMount | FileMount


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A ulimit; -1 is unlimited."""

    name: str
    soft: int
    hard: int

    def __post_init__(self) -> None:
        if self.name not in _ULIMITS:
            raise BuildError(f"unknown ulimit {self.name!r}", hint=", ".join(_ULIMITS))
        if self.hard != -1 and (self.soft > self.hard or self.soft == -1):
            raise BuildError(f"ulimit {self.name}: soft {self.soft} is above hard {self.hard}")

    @property
    def number(self) -> int:
        return _ULIMITS[self.name]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """One command over `rootfs`, a mounted merged directory. `user` is as USER recorded it.
    `host` is what it runs on.
    """

    argv: tuple[str, ...]
    rootfs: Path
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str = "/"
    user: str = ""
    mounts: tuple[StepMount, ...] = ()
    network: NetworkMode = NetworkMode.UNSET
    security: SecurityMode = SecurityMode.SANDBOX
    hostname: str = HOSTNAME
    extra_hosts: tuple[tuple[str, str], ...] = ()
    ulimits: tuple[Limit, ...] = ()
    shm_size: int = SHM_SIZE
    host: Host = ORDINARY

    def __post_init__(self) -> None:
        _check_command(self.argv, self.env)
        _check_modes(self.network, self.security)
        if not self.cwd.startswith("/") or "\0" in self.cwd:
            raise BuildError(f"working directory {self.cwd!r} is not an absolute path")
        if not self.rootfs.is_absolute():
            raise ValueError(f"rootfs {self.rootfs} is not absolute")
        if not 0 < len(self.hostname.encode()) <= 64 or "\0" in self.hostname:  # noqa: PLR2004 - HOST_NAME_MAX
            raise BuildError(f"hostname {self.hostname!r} has no length from 1 to 64")


def _check_command(argv: tuple[str, ...], env: Mapping[str, str]) -> None:
    if not argv or not argv[0]:
        raise BuildError("a step needs a command")
    if any("\0" in word for word in argv):
        raise BuildError("a word of the command holds a NUL")
    for name, value in env.items():
        if not name or "=" in name or "\0" in name + value:
            raise BuildError(f"{name!r} can't be the name of an environment variable")


def _check_modes(network: NetworkMode, security: SecurityMode) -> None:
    """Only what is known runs, whatever arrives in the place of an enum: default is to refuse."""
    if network not in (NetworkMode.UNSET, NetworkMode.HOST, NetworkMode.NONE):
        raise BuildError(f"unknown network mode {network!r}")
    if security is not SecurityMode.SANDBOX:
        raise BuildError(
            f"security mode {str(security)!r} is not allowed: steps run in the sandbox only",
            hint="Docker needs the entitlement security.insecure for it, which no rootless"
            " builder can give",
        )


def _check_dest(dest: str) -> None:
    names = [name for name in dest.split("/") if name not in ("", ".")]
    if not dest.startswith("/") or "\0" in dest or ".." in names:
        raise BuildError(f"mount target {dest!r} is not a clean absolute path")
    if not names or f"/{names[0]}" in KERNEL_DIRECTORIES or names == ["dev"]:
        raise BuildError(f"mount target {dest!r} can't be mounted over")
