"""The checked reading of what steps and file operations say. See `decode`."""

from collections.abc import Mapping
from typing import TypeVar

from lazybuild.errors import IntegrityError
from lazybuild.llb.ops import (
    NO_INPUT,
    NO_OUTPUT,
    Action,
    CopyAction,
    ExecOp,
    FileAction,
    FileOp,
    Meta,
    MkDirAction,
    MkFileAction,
    Mount,
    MountType,
    Owner,
    ProxyEnv,
    RmAction,
    SecretEnv,
    SymlinkAction,
    Ulimit,
    User,
)
from lazybuild.wire.buildkit_frontend_protos import ops_pb2 as pb
from lazybuild.wire.encode_ops import MOUNTS, NETWORKS, SECURITY, SHARING

MAX_PATH = 4096
MAX_LIST = 65_536
MAX_MOUNTS = 1024
MODE_BITS = 0o7777
KEEP = -1

_Own = TypeVar("_Own")


class HostileGraphError(IntegrityError):
    """A graph that no honest writer makes."""


def require(holds: bool, complaint: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise HostileGraphError(f"refused a build graph: {complaint}")


def read_exec(message: pb.ExecOp, inputs: int) -> ExecOp:
    require(bool(message.meta.args), "a step has no command")
    require(len(message.mounts) <= MAX_MOUNTS, "a step has too many mounts")
    mounts = tuple(_mount(mount, inputs) for mount in message.mounts)
    require(sum(mount.dest == "/" for mount in mounts) == 1, "a step needs exactly one root")
    outputs = [mount.output for mount in mounts if mount.output != NO_OUTPUT]
    require(sorted(outputs) == list(range(len(outputs))), "the outputs of a step have gaps")
    return ExecOp(
        meta=_meta(message.meta),
        mounts=mounts,
        network=_known(NETWORKS, message.network, "network mode"),
        security=_known(SECURITY, message.security, "security mode"),
        secret_env=tuple(
            SecretEnv(id=text(each.ID), name=text(each.name), optional=each.optional)
            for each in message.secretenv
        ),
        cdi_devices=tuple((text(each.name), each.optional) for each in message.cdiDevices),
    )


def _known(table: Mapping[_Own, int], number: int, what: str) -> _Own:
    """Our value for a number of an enum: a number that is not ours is refused."""
    for own, known in table.items():
        if known == number:
            return own
    raise HostileGraphError(f"refused a build graph: {number} is no {what}")


def text(value: str, limit: int = MAX_LIST) -> str:
    require("\0" not in value, "a text has a NUL in it")
    require(len(value) <= limit, "a text is too long")
    return value


def path(value: str, *, absolute: bool = False) -> str:
    """A path of a file system of the build: bounded, without NUL, and never upwards."""
    text(value, MAX_PATH)
    require(".." not in value.split("/"), f"{value[:80]!r} goes upwards")
    require(not absolute or value.startswith("/"), f"{value[:80]!r} is not absolute")
    return value


def number(value: int, inputs: int) -> int:
    require(NO_INPUT <= value < inputs, f"there is no input {value}")
    return value


def _meta(message: pb.Meta) -> Meta:
    lists = (message.args, message.env, message.extraHosts, message.ulimit)
    require(all(len(each) <= MAX_LIST for each in lists), "a step has too many words")
    for pair in message.env:
        require("=" in pair and not pair.startswith("="), f"{pair[:80]!r} is no variable")
    return Meta(
        args=tuple(text(word, MAX_LIST * 256) for word in message.args),
        env=tuple(text(pair, MAX_LIST * 256) for pair in message.env),
        cwd=path(message.cwd, absolute=True),
        user=text(message.user),
        proxy_env=_proxy(message.proxy_env) if message.HasField("proxy_env") else None,
        extra_hosts=tuple((text(each.Host), text(each.IP)) for each in message.extraHosts),
        hostname=text(message.hostname),
        ulimits=tuple(
            Ulimit(name=text(each.Name), soft=each.Soft, hard=each.Hard) for each in message.ulimit
        ),
        cgroup_parent=path(message.cgroupParent),
        valid_exit_codes=tuple(message.validExitCodes),
        remove_mount_stubs_recursive=message.removeMountStubsRecursive,
    )


def _proxy(message: pb.ProxyEnv) -> ProxyEnv:
    return ProxyEnv(
        http=text(message.http_proxy),
        https=text(message.https_proxy),
        ftp=text(message.ftp_proxy),
        no=text(message.no_proxy),
        all=text(message.all_proxy),
    )


def _mount(message: pb.Mount, inputs: int) -> Mount:
    """Go's client leaves the output of secrets and agents at 0, which says nothing."""
    require(message.output >= NO_OUTPUT, f"there is no output {message.output}")
    kind = _known(MOUNTS, message.mountType, "type of mount")
    require(not message.resultID, "a mount of a result is not a step's")
    guarded = _guarded(kind, message)
    cached = kind is MountType.CACHE
    id_ = guarded.ID if guarded is not None else message.cacheOpt.ID if cached else ""
    require(message.tmpfsOpt.size >= 0, "a size is negative")
    return Mount(
        dest=path(message.dest, absolute=guarded is None and not cached),
        input=number(message.input, inputs),
        output=NO_OUTPUT if guarded is not None else message.output,
        selector=path(message.selector),
        readonly=message.readonly,
        type=kind,
        id=text(id_),
        sharing=_known(SHARING, message.cacheOpt.sharing, "way of sharing"),
        size=message.tmpfsOpt.size,
        uid=guarded.uid if guarded is not None else 0,
        gid=guarded.gid if guarded is not None else 0,
        mode=_mode(guarded.mode) if guarded is not None else 0,
        optional=guarded.optional if guarded is not None else False,
    )


def _guarded(kind: MountType, message: pb.Mount) -> pb.SecretOpt | pb.SSHOpt | None:
    if kind is MountType.SECRET:
        return message.secretOpt
    return message.sshOpt if kind is MountType.SSH else None


def _mode(value: int) -> int:
    require(value == KEEP or 0 <= value <= MODE_BITS, f"{value:#o} is no mode")
    return value


# --- files ---------------------------------------------------------------------------------------


def read_files(message: pb.FileOp, inputs: int) -> FileOp:
    require(0 < len(message.actions) <= MAX_LIST, "a file operation has no or too many actions")
    actions = tuple(
        _action(action, inputs + index, inputs) for index, action in enumerate(message.actions)
    )
    outputs = [action.output for action in actions if action.output != NO_OUTPUT]
    require(sorted(outputs) == list(range(len(outputs))), "the outputs of an op have gaps")
    require(bool(outputs), "a file operation has no result")
    return FileOp(actions=actions)


def _action(message: pb.FileAction, known: int, inputs: int) -> FileAction:
    """`known` counts the inputs and the actions before this one: only those can be named."""
    require(message.output >= NO_OUTPUT, f"there is no output {message.output}")
    return FileAction(
        action=_inner(message, inputs),
        input=number(message.input, known),
        secondary_input=number(message.secondaryInput, known),
        output=message.output,
    )


def _inner(message: pb.FileAction, inputs: int) -> Action:
    match message.WhichOneof("action"):
        case "copy":
            return _copy(message.copy, inputs)
        case "mkfile":
            return MkFileAction(
                path=path(message.mkfile.path),
                mode=_mode(message.mkfile.mode),
                data=message.mkfile.data,
                owner=_owner(message.mkfile, inputs),
                timestamp=_time(message.mkfile.timestamp),
            )
        case "mkdir":
            return MkDirAction(
                path=path(message.mkdir.path),
                mode=_mode(message.mkdir.mode),
                make_parents=message.mkdir.makeParents,
                owner=_owner(message.mkdir, inputs),
                timestamp=_time(message.mkdir.timestamp),
            )
        case "rm":
            return RmAction(
                path=path(message.rm.path),
                allow_not_found=message.rm.allowNotFound,
                allow_wildcard=message.rm.allowWildcard,
            )
        case "symlink":
            return SymlinkAction(
                old_path=text(message.symlink.oldpath, MAX_PATH),
                new_path=path(message.symlink.newpath),
                owner=_owner(message.symlink, inputs),
                timestamp=_time(message.symlink.timestamp),
            )
        case _:
            raise HostileGraphError("refused a build graph: an unknown file action")


def _copy(message: pb.FileActionCopy, inputs: int) -> CopyAction:
    patterns = (message.include_patterns, message.exclude_patterns, message.required_paths)
    require(all(len(each) <= MAX_LIST for each in patterns), "a copy has too many patterns")
    include, exclude, must = (tuple(path(name) for name in each) for each in patterns)
    return CopyAction(
        src=path(message.src),
        dest=path(message.dest),
        owner=_owner(message, inputs),
        mode=_mode(message.mode),
        mode_str=text(message.modeStr, MAX_PATH),
        follow_symlink=message.followSymlink,
        dir_copy_contents=message.dirCopyContents,
        attempt_unpack=message.attemptUnpackDockerCompatibility,
        create_dest_path=message.createDestPath,
        allow_wildcard=message.allowWildcard,
        allow_empty_wildcard=message.allowEmptyWildcard,
        timestamp=_time(message.timestamp),
        include_patterns=include,
        exclude_patterns=exclude,
        always_replace=message.alwaysReplaceExistingDestPaths,
        required_paths=must,
    )


def _time(value: int) -> int:
    require(value >= KEEP, f"{value} is no time")
    return value


def _owner(
    message: pb.FileActionCopy | pb.FileActionMkFile | pb.FileActionMkDir | pb.FileActionSymlink,
    inputs: int,
) -> Owner | None:
    if not message.HasField("owner"):
        return None
    owner = message.owner
    return Owner(
        user=_user(owner.user, inputs) if owner.HasField("user") else None,
        group=_user(owner.group, inputs) if owner.HasField("group") else None,
    )


def _user(message: pb.UserOpt, inputs: int) -> User | None:
    match message.WhichOneof("user"):
        case "byName":
            name = text(message.byName.name, MAX_PATH)
            require(bool(name), "an owner has no name")
            return User(name=name, input=number(message.byName.input, inputs))
        case "byID":
            return User(id=message.byID)
        case _:
            return None
