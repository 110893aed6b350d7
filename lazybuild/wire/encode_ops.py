"""Steps and file actions as messages of BuildKit's; `decode_ops` is the way back."""

from typing import TypedDict

from lazybuild.llb.ops import (
    Action,
    CopyAction,
    ExecOp,
    FileAction,
    FileOp,
    MkDirAction,
    MkFileAction,
    Mount,
    MountType,
    NetworkMode,
    Owner,
    RmAction,
    SecurityMode,
    Sharing,
    SymlinkAction,
    User,
)
from lazybuild.wire.buildkit_frontend_protos import ops_pb2 as pb

NETWORKS = {
    NetworkMode.UNSET: pb.UNSET,
    NetworkMode.HOST: pb.HOST,
    NetworkMode.NONE: pb.NONE,
}
SECURITY = {SecurityMode.SANDBOX: pb.SANDBOX, SecurityMode.INSECURE: pb.INSECURE}
MOUNTS = {
    MountType.BIND: pb.BIND,
    MountType.SECRET: pb.SECRET,
    MountType.SSH: pb.SSH,
    MountType.CACHE: pb.CACHE,
    MountType.TMPFS: pb.TMPFS,
}
SHARING = {
    Sharing.SHARED: pb.SHARED,
    Sharing.PRIVATE: pb.PRIVATE,
    Sharing.LOCKED: pb.LOCKED,
}


def exec_message(step: ExecOp) -> pb.ExecOp:
    meta = step.meta
    message = pb.ExecOp(
        meta=pb.Meta(
            args=meta.args,
            env=meta.env,
            cwd=meta.cwd,
            user=meta.user,
            extraHosts=[pb.HostIP(Host=name, IP=address) for name, address in meta.extra_hosts],
            hostname=meta.hostname,
            ulimit=[pb.Ulimit(Name=u.name, Soft=u.soft, Hard=u.hard) for u in meta.ulimits],
            cgroupParent=meta.cgroup_parent,
            removeMountStubsRecursive=meta.remove_mount_stubs_recursive,
            validExitCodes=meta.valid_exit_codes,
        ),
        mounts=[_mount_message(mount) for mount in step.mounts],
        network=NETWORKS[step.network],
        security=SECURITY[step.security],
        secretenv=[
            pb.SecretEnv(ID=secret.id, name=secret.name, optional=secret.optional)
            for secret in step.secret_env
        ],
        cdiDevices=[pb.CDIDevice(name=name, optional=opt) for name, opt in step.cdi_devices],
    )
    if meta.proxy_env is not None:
        proxy = meta.proxy_env
        message.meta.proxy_env.http_proxy = proxy.http
        message.meta.proxy_env.https_proxy = proxy.https
        message.meta.proxy_env.ftp_proxy = proxy.ftp
        message.meta.proxy_env.no_proxy = proxy.no
        message.meta.proxy_env.all_proxy = proxy.all
    return message


def _mount_message(mount: Mount) -> pb.Mount:
    message = pb.Mount(
        input=mount.input,
        selector=mount.selector,
        dest=mount.dest,
        output=mount.output,
        readonly=mount.readonly,
        mountType=MOUNTS[mount.type],
    )
    match mount.type:
        case MountType.TMPFS:
            message.tmpfsOpt.size = mount.size
            message.tmpfsOpt.SetInParent()
        case MountType.CACHE:
            message.cacheOpt.ID, message.cacheOpt.sharing = mount.id, SHARING[mount.sharing]
        case MountType.SECRET:
            message.secretOpt.CopyFrom(pb.SecretOpt(**_guarded(mount)))
        case MountType.SSH:
            message.sshOpt.CopyFrom(pb.SSHOpt(**_guarded(mount)))
        case MountType.BIND:
            pass
    return message


class _Guarded(TypedDict):
    ID: str
    uid: int
    gid: int
    mode: int
    optional: bool


def _guarded(mount: Mount) -> _Guarded:
    return {
        "ID": mount.id,
        "uid": mount.uid,
        "gid": mount.gid,
        "mode": mount.mode,
        "optional": mount.optional,
    }


# --- files ---------------------------------------------------------------------------------------


def file_message(files: FileOp) -> pb.FileOp:
    return pb.FileOp(actions=[_action_message(action) for action in files.actions])


def _action_message(action: FileAction) -> pb.FileAction:
    message = pb.FileAction(
        input=action.input, secondaryInput=action.secondary_input, output=action.output
    )
    match _inner_message(action.action):
        case pb.FileActionCopy() as copy:
            message.copy.CopyFrom(copy)
        case pb.FileActionMkFile() as file:
            message.mkfile.CopyFrom(file)
        case pb.FileActionMkDir() as folder:
            message.mkdir.CopyFrom(folder)
        case pb.FileActionRm() as rm:
            message.rm.CopyFrom(rm)
        case pb.FileActionSymlink() as link:
            message.symlink.CopyFrom(link)
    return message


_Inner = (
    pb.FileActionCopy
    | pb.FileActionMkFile
    | pb.FileActionMkDir
    | pb.FileActionRm
    | pb.FileActionSymlink
)


def _inner_message(action: Action) -> _Inner:
    match action:
        case CopyAction():
            return _copy_message(action)
        case MkFileAction():
            return pb.FileActionMkFile(
                path=action.path,
                mode=action.mode,
                data=action.data,
                owner=_owner(action.owner),
                timestamp=action.timestamp,
            )
        case MkDirAction():
            return pb.FileActionMkDir(
                path=action.path,
                mode=action.mode,
                makeParents=action.make_parents,
                owner=_owner(action.owner),
                timestamp=action.timestamp,
            )
        case RmAction():
            return pb.FileActionRm(
                path=action.path,
                allowNotFound=action.allow_not_found,
                allowWildcard=action.allow_wildcard,
            )
        case SymlinkAction():
            return pb.FileActionSymlink(
                oldpath=action.old_path,
                newpath=action.new_path,
                owner=_owner(action.owner),
                timestamp=action.timestamp,
            )


def _copy_message(action: CopyAction) -> pb.FileActionCopy:
    return pb.FileActionCopy(
        src=action.src,
        dest=action.dest,
        owner=_owner(action.owner),
        mode=action.mode,
        followSymlink=action.follow_symlink,
        dirCopyContents=action.dir_copy_contents,
        attemptUnpackDockerCompatibility=action.attempt_unpack,
        createDestPath=action.create_dest_path,
        allowWildcard=action.allow_wildcard,
        allowEmptyWildcard=action.allow_empty_wildcard,
        timestamp=action.timestamp,
        include_patterns=action.include_patterns,
        exclude_patterns=action.exclude_patterns,
        alwaysReplaceExistingDestPaths=action.always_replace,
        modeStr=action.mode_str,
        required_paths=action.required_paths,
    )


def _owner(owner: Owner | None) -> pb.ChownOpt | None:
    if owner is None:
        return None
    return pb.ChownOpt(user=_user(owner.user), group=_user(owner.group))


def _user(user: User | None) -> pb.UserOpt | None:
    if user is None:
        return None
    if user.name:
        return pb.UserOpt(byName=pb.NamedUserOpt(name=user.name, input=user.input))
    return pb.UserOpt(byID=user.id)
