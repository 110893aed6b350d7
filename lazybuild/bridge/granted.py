"""What a frontend may have: sources of the session, and ops that this engine does. Pure.

A graph names its sources itself, so a frontend could ask for any directory by name, for another
session's files, or for a network that its user did not allow.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lazybuild.errors import BuildError, UsageError
from lazybuild.llb.graph import Edge, Vertex, walk
from lazybuild.llb.ops import (
    DiffOp,
    ExecOp,
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
        for vertex in walk(head.vertex):
            if complaint := next(self._complaints(vertex), ""):
                error = BuildError(f"{vertex.name}: {complaint}")
                error.span = next(iter(vertex.options.spans), None)
                raise error

    def _complaints(self, vertex: Vertex) -> Iterator[str]:
        if isinstance(vertex.op, ExecOp):
            yield from self._of_step(vertex.op)
        elif isinstance(vertex.op, DiffOp):
            yield "the difference of two trees is not supported"

    def _of_step(self, step: ExecOp) -> Iterator[str]:
        if step.security is not SecurityMode.SANDBOX:
            yield "security.insecure is not given to a frontend"
        if step.network is NetworkMode.HOST and "network.host" not in self.entitlements:
            yield "network.host is not allowed without --allow network.host"
        if step.cdi_devices or step.meta.cgroup_parent:
            yield "devices and cgroups are not supported"
