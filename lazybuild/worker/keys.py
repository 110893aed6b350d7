"""How the cache key of each op is made. Pure.

The rules are the reference's (docs/cache.md): an image counts by its manifest digest, a command by
its definition, what is copied or only read by content. Not part of a key: proxy variables, the
addresses of extra hosts, secret values, the id and sharing of cache mounts, names and places.
"""

import hashlib
import json
from dataclasses import replace

from lazybuild.llb.graph import Vertex, plain
from lazybuild.llb.ops import (
    CopyAction,
    DiffOp,
    ExecOp,
    FileAction,
    FileOp,
    MergeOp,
    Mount,
    MountType,
    Sharing,
    SourceOp,
)
from lazybuild.llb.patterns import has_wildcard
from lazybuild.snapshots.contenthash import Selection as Content
from lazybuild.snapshots.paths import base, clean
from lazybuild.solver.types import KeyPlan, Selection


def plan(vertex: Vertex) -> KeyPlan:
    """The plan of a vertex whose op is not a source (those are planned by `sources`)."""
    op = vertex.op
    if isinstance(op, ExecOp):
        return KeyPlan(digest=_digest(vertex, _exec(op)), inputs=_exec_inputs(vertex, op))
    if isinstance(op, FileOp):
        return KeyPlan(digest=_digest(vertex, _file(op)), inputs=_file_inputs(vertex, op))
    if isinstance(op, MergeOp | DiffOp):
        return KeyPlan(digest=_digest(vertex, op), inputs=(None,) * len(vertex.inputs))
    raise TypeError(type(op))


def source_plan(vertex: Vertex, *identity: str) -> KeyPlan:
    """The plan of a source whose content `identity` names for good."""
    return KeyPlan(digest=fingerprint(["source", str(vertex.platform or ""), *identity]))


def fingerprint(parts: list[object]) -> str:
    text = json.dumps(parts, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _digest(vertex: Vertex, op: ExecOp | FileOp | MergeOp | DiffOp | SourceOp) -> str:
    return fingerprint([plain(op), str(vertex.platform or "")])


def _exec(op: ExecOp) -> ExecOp:
    hosts = tuple((host, "") for host, _ in op.meta.extra_hosts)
    meta = replace(op.meta, proxy_env=None, extra_hosts=hosts, cgroup_parent="")
    return replace(op, meta=meta, mounts=tuple(shape(mount) for mount in op.mounts))


def shape(mount: Mount) -> Mount:
    if mount.type is MountType.CACHE:
        return replace(mount, id="", sharing=Sharing.SHARED)
    if mount.type is MountType.BIND and mount.dest != "/":
        return replace(mount, selector="")
    return mount


def _exec_inputs(vertex: Vertex, op: ExecOp) -> tuple[Selection | None, ...]:
    return tuple(_mounted(op, index) for index in range(len(vertex.inputs)))


def _mounted(op: ExecOp, index: int) -> Selection | None:
    """The content that a step sees of an input, or None when the input is its root."""
    mounts = [mount for mount in op.mounts if mount.input == index]
    if any(mount.dest == "/" or mount.output >= 0 for mount in mounts):
        return None
    return _selection(tuple(Content(path=clean(mount.selector)) for mount in mounts))


def _file(op: FileOp) -> FileOp:
    return FileOp(actions=tuple(relative(action) for action in op.actions))


def relative(action: FileAction) -> FileAction:
    """A copied file counts by its content and base name, not by where it was."""
    copy = action.action
    if not isinstance(copy, CopyAction) or has_wildcard(copy.src):
        return action
    return replace(action, action=replace(copy, src=base(clean(copy.src))))


def _file_inputs(vertex: Vertex, op: FileOp) -> tuple[Selection | None, ...]:
    return tuple(_copied(op, index) for index in range(len(vertex.inputs)))


def _copied(op: FileOp, index: int) -> Selection | None:
    copies = [
        action.action
        for action in op.actions
        if isinstance(action.action, CopyAction) and action.secondary_input == index
    ]
    if not copies or any(action.input == index for action in op.actions):
        return None
    return _selection(tuple(_content(copy) for copy in copies))


def _content(copy: CopyAction) -> Content:
    return Content(
        path=copy.src,
        wildcard=copy.allow_wildcard and has_wildcard(copy.src),
        follow=copy.follow_symlink,
        include=copy.include_patterns,
        exclude=copy.exclude_patterns,
    )


def _selection(contents: tuple[Content, ...]) -> Selection:
    named: list[object] = [
        [part.path, part.wildcard, part.follow, list(part.include), list(part.exclude)]
        for part in contents
    ]
    return Selection(fingerprint=fingerprint(named), paths=contents)
