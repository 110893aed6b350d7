"""The operations of a build graph: BuildKit's model as frozen values. Standard library only.

Source: moby/buildkit solver/pb/ops.proto; field names follow it. An op describes and does nothing;
its inputs are held by the `Vertex` around it (see `graph`), and numbers called `input` index them.
`-1` (NO_INPUT, NO_OUTPUT) means none.
"""

from dataclasses import dataclass
from enum import StrEnum

NO_INPUT = -1
NO_OUTPUT = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """An OCI platform; the names are Go's (amd64, arm64 with variant v8 left out, ...)."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOp:
    """Content from outside. `identifier` is a URL-like name (docker-image://, oci-layout://,
    local://, git://, https://); `attrs` are sorted pairs, names as in BuildKit.
    """

    identifier: str
    attrs: tuple[tuple[str, str], ...] = ()


class MountType(StrEnum):
    BIND = "bind"
    SECRET = "secret"  # noqa: S105 - the name of a mount type
    SSH = "ssh"
    CACHE = "cache"
    TMPFS = "tmpfs"


class Sharing(StrEnum):
    SHARED = "shared"
    PRIVATE = "private"
    LOCKED = "locked"


class NetworkMode(StrEnum):
    UNSET = "default"
    HOST = "host"
    NONE = "none"


class SecurityMode(StrEnum):
    SANDBOX = "sandbox"
    INSECURE = "insecure"


SHM = "/dev/shm"  # noqa: S108 - a mount point inside the step


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount of a step. The root is the mount whose `dest` is "/".

    `size` (bytes) belongs to tmpfs; `id`, `sharing` to cache; `id`, `uid`, `gid`, `mode`,
    `optional` to secret and ssh. `selector` is a path inside the input.
    """

    dest: str
    input: int = NO_INPUT
    output: int = NO_OUTPUT
    selector: str = ""
    readonly: bool = False
    type: MountType = MountType.BIND
    id: str = ""
    sharing: Sharing = Sharing.SHARED
    size: int = 0
    uid: int = 0
    gid: int = 0
    mode: int = 0
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyEnv:
    http: str = ""
    https: str = ""
    ftp: str = ""
    no: str = ""
    all: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ulimit:
    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """The process of a step. `env` holds NAME=VALUE strings; `user` is as USER recorded it."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    proxy_env: ProxyEnv | None = None
    extra_hosts: tuple[tuple[str, str], ...] = ()
    hostname: str = ""
    ulimits: tuple[Ulimit, ...] = ()
    cgroup_parent: str = ""
    valid_exit_codes: tuple[int, ...] = ()
    remove_mount_stubs_recursive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretEnv:
    id: str
    name: str
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOp:
    meta: Meta
    mounts: tuple[Mount, ...]
    network: NetworkMode = NetworkMode.UNSET
    security: SecurityMode = SecurityMode.SANDBOX
    secret_env: tuple[SecretEnv, ...] = ()
    cdi_devices: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user or group: `name` looked up in the rootfs of op input `input`, or the number `id`."""

    name: str = ""
    input: int = NO_INPUT
    id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    user: User | None = None
    group: User | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyAction:
    """Copy `src` of the secondary input to `dest`. `mode` -1 keeps; `mode_str` is symbolic."""

    src: str
    dest: str
    owner: Owner | None = None
    mode: int = -1
    mode_str: str = ""
    follow_symlink: bool = False
    dir_copy_contents: bool = False
    attempt_unpack: bool = False
    create_dest_path: bool = False
    allow_wildcard: bool = False
    allow_empty_wildcard: bool = False
    timestamp: int = -1
    include_patterns: tuple[str, ...] = ()
    exclude_patterns: tuple[str, ...] = ()
    always_replace: bool = False
    required_paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MkFileAction:
    path: str
    mode: int
    data: bytes
    owner: Owner | None = None
    timestamp: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class MkDirAction:
    path: str
    mode: int
    make_parents: bool = False
    owner: Owner | None = None
    timestamp: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class RmAction:
    path: str
    allow_not_found: bool = False
    allow_wildcard: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SymlinkAction:
    old_path: str
    new_path: str
    owner: Owner | None = None
    timestamp: int = -1


Action = CopyAction | MkFileAction | MkDirAction | RmAction | SymlinkAction


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAction:
    """One action and what it works on. A number below len(vertex.inputs) is an op input, a higher
    one names the action (number - len(inputs)); `output` >= 0 exports the result.
    """

    action: Action
    input: int = NO_INPUT
    secondary_input: int = NO_INPUT
    output: int = NO_OUTPUT


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOp:
    actions: tuple[FileAction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeOp:
    """All inputs laid over one another, the last on top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffOp:
    """What `upper` has beyond `lower`; -1 is an empty tree."""

    lower: int
    upper: int


Op = SourceOp | ExecOp | FileOp | MergeOp | DiffOp


def outputs(op: Op) -> int:
    """How many results an op has."""
    match op:
        case ExecOp(mounts=mounts):
            return 1 + max((mount.output for mount in mounts), default=NO_OUTPUT)
        case FileOp(actions=actions):
            return 1 + max((action.output for action in actions), default=NO_OUTPUT)
        case _:
            return 1
