"""What a frontend may have: sources of the session, and ops that this engine does. Pure.

A graph names its sources itself, so a frontend could ask for any directory by name, for another
session's files, or for a network that its user did not allow.
"""

from dataclasses import dataclass, replace

from lazybuild.errors import BuildError, UsageError
from lazybuild.llb.graph import Edge, walk
from lazybuild.llb.ops import (
    NO_OUTPUT,
    DiffOp,
    ExecOp,
    FileOp,
    MountType,
    NetworkMode,
    SecurityMode,
    SourceOp,
)

SCHEMES = ("docker-image", "local", "git", "http", "https")
SESSION = "local.session"
TRANSFER = frozenset({SESSION, "local.unique", "local.sharedkeyhint", "local.differ"})
"""How a directory is carried to a BuildKit; here nothing is carried, and the name says it all."""

ATTRS = {
    "docker-image": {"image.resolvemode", "image.recordtype"},
    "local": {*TRANSFER, "local.includepattern", "local.excludepatterns", "local.followpaths"},
    "git": {
        "git.keepgitdir", "git.fullurl", "git.authheadersecret", "git.authtokensecret",
        "git.knownsshhosts", "git.mountsshsock", "git.checksum", "git.skipsubmodules", "git.mtime",
    },
    "http": {
        "http.checksum", "http.filename", "http.perm", "http.uid", "http.gid",
        "http.authheadersecret",
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """`locals` are the names of the directories, `entitlements` what the user allowed."""

    session: str
    locals: frozenset[str] = frozenset()
    entitlements: frozenset[str] = frozenset()

    def admit(self, source: SourceOp) -> SourceOp:
        """The source without what only says how it is carried. Raises for one not granted."""
        scheme, _, name = source.identifier.partition("://")
        if scheme not in SCHEMES:
            raise UsageError(
                f"a frontend asks for {source.identifier[:200]}, which is no source here"
            )
        attrs = dict(source.attrs)
        unknown = set(attrs) - ATTRS.get("http" if scheme == "https" else scheme, set())
        if unknown:
            raise UsageError(f"a frontend asks for {min(unknown)[:80]}, which is not supported")
        if scheme == "local":
            self._check_local(name, attrs.get(SESSION, ""))
        kept = tuple(pair for pair in source.attrs if pair[0] not in TRANSFER)
        return replace(source, attrs=kept)

    def _check_local(self, name: str, session: str) -> None:
        if session not in ("", self.session):
            raise UsageError("a frontend asks for the files of another session")
        if name not in self.locals:
            known = ", ".join(sorted(self.locals)) or "none"
            raise UsageError(
                f"a frontend asks for the directory {name[:80]!r}, which it was not given",
                hint=f"it was given {known}; --build-context gives another",
            )

    def check(self, head: Edge) -> None:
        """Raise for an op that this engine does not do, or that nobody allowed."""
        require_first(head, "the result")
        for vertex in walk(head.vertex):
            for edge in vertex.inputs:
                require_first(edge, vertex.name)
            match vertex.op:
                case ExecOp() as step:
                    self._check_step(vertex.name, step)
                case FileOp(actions=actions):
                    if sum(action.output != NO_OUTPUT for action in actions) > 1:
                        raise BuildError(f"{vertex.name}: a file operation with several results")
                case DiffOp():
                    raise BuildError(f"{vertex.name}: the difference of two trees is not supported")

    def _check_step(self, name: str, step: ExecOp) -> None:
        if step.security is not SecurityMode.SANDBOX:
            raise BuildError(f"{name}: security.insecure is not given to a frontend")
        if step.network is NetworkMode.HOST and "network.host" not in self.entitlements:
            raise BuildError(
                f"{name}: network.host is not allowed", hint="allow it with --allow network.host"
            )
        if step.cdi_devices or step.meta.cgroup_parent:
            raise BuildError(f"{name}: devices and cgroups are not supported")
        for mount in step.mounts:
            if mount.output == 0 and (mount.dest != "/" or mount.type is not MountType.BIND):
                raise BuildError(f"{name}: the result of a step is its root, not {mount.dest}")


def require_first(edge: Edge, name: str) -> None:
    if edge.index:
        raise BuildError(f"{name}: output {edge.index} of {edge.vertex.name} is not supported")
