"""What a graph needs a daemon to be able to, and what is missing. Pure.

The names are those of moby/buildkit solver/pb/caps.go. A daemon refuses a name that it doesn't
know, so only what an op really uses is named.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from lazybuild.errors import LazybuildError
from lazybuild.llb.graph import Vertex
from lazybuild.llb.ops import (
    CopyAction,
    DiffOp,
    ExecOp,
    FileOp,
    MergeOp,
    Mount,
    MountType,
    NetworkMode,
    SecurityMode,
    Sharing,
    SourceOp,
    SymlinkAction,
)

_ATTRS = {
    "local.session": "source.local.sessionid",
    "local.unique": "source.local.unique",
    "local.includepattern": "source.local.includepatterns",
    "local.followpaths": "source.local.followpaths",
    "local.excludepatterns": "source.local.excludepatterns",
    "local.sharedkeyhint": "source.local.sharedkeyhint",
    "local.differ": "source.local.differ",
    "image.resolvemode": "source.image.resolvemode",
    "image.layerlimit": "source.image.layerlimit",
    "image.checksum": "source.image.checksum",
    "git.keepgitdir": "source.git.keepgitdir",
    "git.fullurl": "source.git.fullurl",
    "git.authheadersecret": "source.git.httpauth",
    "git.authtokensecret": "source.git.httpauth",
    "git.knownsshhosts": "source.git.knownsshhosts",
    "git.mountsshsock": "source.git.mountsshsock",
    "git.checksum": "source.git.checksum",
    "git.skipsubmodules": "source.git.skipsubmodules",
    "git.mtime": "source.git.mtime",
    "git.fetchbycommit": "source.git.fetchbycommit",
    "http.checksum": "source.http.checksum",
    "http.perm": "source.http.perm",
}
_SCHEMES = {
    "docker-image": "source.image",
    "oci-layout": "source.ocilayout",
    "local": "source.local",
    "git": "source.git",
    "http": "source.http",
    "https": "source.http",
}
STUBS = "exec.meta.removemountstubs.recursive"
_OPTIONAL = frozenset({"source.git.httpauth", "source.git.fullurl", "source.local.unique", STUBS})
"""Used when they are there; without them the same thing happens in an older way."""

_MOUNTS = {
    MountType.BIND: "exec.mount.bind",
    MountType.CACHE: "exec.mount.cache",
    MountType.TMPFS: "exec.mount.tmpfs",
    MountType.SECRET: "exec.mount.secret",
    MountType.SSH: "exec.mount.ssh",
}


class MissingCapabilityError(LazybuildError):
    """The daemon is too old, or was told not to do what the build needs."""


def required(vertex: Vertex) -> tuple[str, ...]:
    """The capabilities of one vertex, in order of their names."""
    found = set(_of_op(vertex)) | set(_of_options(vertex))
    return tuple(sorted(found))


def check(needed: Iterable[str], offered: Mapping[str, bool]) -> None:
    """`offered` is what the daemon said; nothing at all means one that is too old to say."""
    missing = sorted(name for name in set(needed) if not offered.get(name, False))
    if offered and missing:
        raise MissingCapabilityError(
            f"BuildKit lacks what this build needs: {', '.join(missing)}",
            hint="use a newer BuildKit, or leave out what needs it",
        )


def optional(name: str) -> bool:
    return name in _OPTIONAL


def adapted(step: ExecOp, offered: Mapping[str, bool]) -> ExecOp:
    """A step without what an older daemon would not see, and so name differently."""
    if not offered or offered.get(STUBS, False):
        return step
    return replace(step, meta=replace(step.meta, remove_mount_stubs_recursive=False))


def _of_options(vertex: Vertex) -> Iterator[str]:
    options = vertex.options
    if options.ignore_cache:
        yield "meta.ignorecache"
    if options.name or options.command or options.description:
        yield "meta.description"


def _of_op(vertex: Vertex) -> Iterator[str]:
    match vertex.op:
        case SourceOp() as source:
            yield from _of_source(source)
        case ExecOp() as step:
            yield from _of_exec(step)
        case FileOp() as files:
            yield "file.base"
            for action in files.actions:
                yield from _of_action(action.action)
        case MergeOp():
            yield "mergeop"
        case DiffOp():
            yield "diffop"


def _of_source(source: SourceOp) -> Iterator[str]:
    scheme = source.identifier.partition("://")[0]
    if scheme in _SCHEMES:
        yield _SCHEMES[scheme]
    yield from (_ATTRS[name] for name, _ in source.attrs if name in _ATTRS)


def _of_exec(step: ExecOp) -> Iterator[str]:
    meta = step.meta
    used = {
        "exec.meta.base": True,
        "exec.meta.proxyenv": meta.proxy_env is not None,
        "exec.meta.network": step.network is not NetworkMode.UNSET,
        "exec.meta.security": step.security is not SecurityMode.SANDBOX,
        "exec.meta.ulimit": bool(meta.ulimits),
        "exec.meta.cgroup.parent": bool(meta.cgroup_parent),
        STUBS: meta.remove_mount_stubs_recursive,
        "exec.meta.cdi": bool(step.cdi_devices),
        "exec.secretenv": bool(step.secret_env),
        "exec.validexitcode": bool(meta.valid_exit_codes),
    }
    yield from (name for name, is_used in used.items() if is_used)
    for mount in step.mounts:
        yield from _of_mount(mount)


def _of_mount(mount: Mount) -> Iterator[str]:
    yield _MOUNTS[mount.type]
    if mount.selector:
        yield "exec.mount.selector"
    if mount.type is MountType.CACHE and mount.sharing is not Sharing.SHARED:
        yield "exec.mount.cache.sharing"
    if mount.type is MountType.TMPFS and mount.size:
        yield "exec.mount.tmpfs.size"


def _of_action(action: object) -> Iterator[str]:
    if isinstance(action, SymlinkAction):
        yield "file.symlink.create"
    if not isinstance(action, CopyAction):
        return
    used = {
        "file.copy.includeexcludepatterns": action.include_patterns or action.exclude_patterns,
        "file.copy.requiredpaths": action.required_paths,
        "file.copy.alwaysreplaceexistingdestpaths": action.always_replace,
        "file.copy.modestring": action.mode_str,
    }
    yield from (name for name, is_used in used.items() if is_used)
