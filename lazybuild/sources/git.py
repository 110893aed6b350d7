"""Git repositories as sources: a ref becomes a commit, a commit a tree. An edge by `gitrun`.

Objects are kept in one bare repository per remote in the store. The checkout happens in a scratch
directory and lasts as long as it is used; nothing in it is ever run.
"""

import base64
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from lazybuild.errors import BuildError, IntegrityError
from lazybuild.estargz.entry import Kind
from lazybuild.llb.ops import SourceOp
from lazybuild.snapshots import paths
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.snapshots.tree import Tree, resolve
from lazybuild.sources.attrs import Attrs
from lazybuild.sources.gitrun import Git
from lazybuild.sources.gittree import CheckedOut
from lazybuild.store import Store

Secrets = Callable[[str], bytes | None]

_COMMIT = re.compile(r"[0-9a-f]{40}\Z|[0-9a-f]{64}\Z")
_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@+-]*\Z")
_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a source op asks for. `remote` is for git and has no credentials."""

    remote: str
    ref: str
    subdir: str
    keep_git_dir: bool
    submodules: bool
    checksum: str
    mtime: str


def request_of(op: SourceOp) -> Request:
    """Read and check an op: refs and directories that could mean something else are refused."""
    attrs = Attrs(op)
    ref, _, subdir = op.identifier.partition("#")[2].partition(":")
    if ref and (not _REF.match(ref) or ".." in ref or ref.endswith((".lock", "/"))):
        raise BuildError(f"git: {ref!r} can't be the name of a ref")
    if ".." in subdir.split("/"):
        raise BuildError(f"git: the directory {subdir!r} leads out of the repository")
    checksum = attrs.text("git.checksum")
    if checksum and not re.fullmatch(r"[0-9a-f]{7,64}", checksum):
        raise BuildError(f"git: the checksum {checksum!r} is not (the beginning of) a commit")
    return Request(
        remote=_remote(attrs.text("git.fullurl") or _url_of(op.identifier)),
        ref=ref,
        subdir=paths.clean(subdir),
        keep_git_dir=attrs.flag("git.keepgitdir"),
        submodules=not attrs.flag("git.skipsubmodules"),
        checksum=checksum,
        mtime=attrs.text("git.mtime"),
    )


def _url_of(identifier: str) -> str:
    return "https://" + identifier.partition("#")[0].partition("://")[2]


def _remote(url: str) -> str:
    if url.startswith("-") or any(ord(char) <= ord(" ") for char in url):
        raise BuildError("git: a URL with blanks, control characters or a leading dash")
    try:
        urlsplit(url)
    except ValueError as error:
        raise BuildError(f"git: a malformed URL: {error}") from error
    return url


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """The files of one commit. `time` is the commit's, in seconds."""

    tree: Tree
    commit: str
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSources:
    """The repositories of a store. `sockets` gives the path of an ssh agent by its id."""

    store: Store
    environ: Mapping[str, str]
    secrets: Secrets = field(default=lambda _: None)
    sockets: Callable[[str], str] = field(default=lambda _: "")
    protocols: str = ""

    def commit(self, op: SourceOp) -> str:
        """The commit that a ref names now; a whole commit is one without asking."""
        request = request_of(op)
        found = request.ref if _COMMIT.match(request.ref) else self._asked(op, request)
        if request.checksum and not found.startswith(request.checksum):
            raise IntegrityError(
                f"git: {request.ref or 'HEAD'} is {found}, expected {request.checksum}"
            )
        return found

    @contextmanager
    def checkout(self, op: SourceOp, commit: str) -> Iterator[Checkout]:
        """The files of a commit that `commit` found, while the block lasts."""
        request = request_of(op)
        git = self._git(op, request)
        with self.store.scratch.directory("git") as home:
            self._fill(git, request, commit, home / "tree")
            when = int(git.run(home / "tree", "show", "-s", "--format=%ct", commit, "--"))
            tree = self._tree(request, home / "tree", when)
            yield Checkout(tree=tree, commit=commit, time=when)

    def raw(self, op: SourceOp, commit: str) -> bytes:
        """A commit that `commit` found, as git keeps it: its header and what was said of it."""
        request = request_of(op)
        git = self._git(op, request)
        with self._mirror(request) as mirror:
            self._fetch(git, request, commit, mirror)
            return git.run(mirror, "cat-file", "commit", commit)

    def _asked(self, op: SourceOp, request: Request) -> str:
        git = self._git(op, request)
        with self.store.scratch.directory("git") as home:
            names = _candidates(request.ref)
            listed = git.run(home, "ls-remote", "--", request.remote, *names)
        found: dict[str, str] = {}
        for line in listed.decode("utf-8", "replace").splitlines():
            commit, _, name = line.partition("\t")
            found[name] = commit
        for name in names:
            commit = found.get(f"{name}^{{}}") or found.get(name, "")
            if _COMMIT.match(commit):
                return commit
        if re.fullmatch(r"[0-9a-f]{7,63}", request.ref):
            raise BuildError(f"git: commit {request.ref} must be given in full")
        raise BuildError(f"git: {_shown(request)} has no ref {request.ref or 'HEAD'!r}")

    def _fill(self, git: Git, request: Request, commit: str, tree: Path) -> None:
        with self._mirror(request) as mirror:
            self._fetch(git, request, commit, mirror)
            tree.mkdir()
            git.run(tree, "init", "-q", ".")
            local = Git(environ=self.environ, protocols="file")
            local.run(
                tree, "fetch", "-q", "--no-tags", "--depth=1", "--", f"file://{mirror}", commit
            )
        git.run(tree, "checkout", "-q", "--detach", commit, "--")
        git.run(tree, "remote", "add", "origin", "--", request.remote)
        if request.submodules and (tree / ".gitmodules").is_file():
            git.run(tree, "submodule", "update", "-q", "--init", "--recursive", "--depth=1")

    def _fetch(self, git: Git, request: Request, commit: str, mirror: Path) -> None:
        if not _has(git, mirror, commit):
            if not (mirror / "HEAD").exists():
                git.run(mirror, "init", "-q", "--bare", ".")
            git.run(mirror, "fetch", "-q", "--no-tags", "--depth=1", "--", request.remote,
                    self._wanted(request, commit))  # fmt: skip
        if not _has(git, mirror, commit):
            git.run(mirror, "fetch", "-q", "--no-tags", "--", request.remote, commit)

    def _wanted(self, request: Request, commit: str) -> str:
        """What to fetch: servers give a ref always, a bare commit mostly."""
        return commit if _COMMIT.match(request.ref) or not request.ref else request.ref

    @contextmanager
    def _mirror(self, request: Request) -> Iterator[Path]:
        """The bare repository of a remote, for one process at a time."""
        name = hashlib.sha256(request.remote.encode()).hexdigest()
        path = self.store.root / "git" / name
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield path
        finally:
            os.close(fd)

    def _tree(self, request: Request, root: Path, when: int) -> Tree:
        tree = HostTree(root)
        subdir = resolve(tree, request.subdir)
        node = tree.lookup(subdir)
        if node is None or node.kind is not Kind.DIR or paths.base(subdir) == ".git":
            raise BuildError(f"git: {_shown(request)} has no directory {request.subdir!r}")
        keep = request.keep_git_dir and not subdir
        mtime = when * _NANO if request.mtime == "commit" else None
        return CheckedOut(tree, subdir, keep_git_dir=keep, mtime=mtime)

    def _git(self, op: SourceOp, request: Request) -> Git:
        socket = Attrs(op).text("git.mountsshsock")
        extra = {f"http.{_base(request.remote)}.extraHeader": header
                 for header in self._headers(op, request)}  # fmt: skip
        known: dict[str, str] = {"protocols": self.protocols} if self.protocols else {}
        return Git(
            environ=self.environ,
            extra=extra,
            ssh_socket=self.sockets(socket) if socket else "",
            **known,
        )

    def _headers(self, op: SourceOp, request: Request) -> list[str]:
        """An Authorization header from the secrets, for this host and no other."""
        attrs = Attrs(op)
        host = urlsplit(request.remote).netloc.rpartition("@")[2]
        if not request.remote.startswith(("https://", "http://")):
            return []
        header = attrs.text("git.authheadersecret") or "GIT_AUTH_HEADER"
        token = attrs.text("git.authtokensecret") or "GIT_AUTH_TOKEN"
        if value := self.secrets(f"{header}.{host}") or self.secrets(header):
            return [f"Authorization: {_text(value)}"]
        if value := self.secrets(f"{token}.{host}") or self.secrets(token):
            pair = base64.b64encode(b"x-access-token:" + _text(value).encode()).decode()
            return [f"Authorization: basic {pair}"]
        return []


def _text(secret: bytes) -> str:
    text = secret.decode("latin-1").strip()
    if not text.isprintable():
        raise BuildError("a secret for git has control characters")
    return text


def _base(remote: str) -> str:
    parts = urlsplit(remote)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"


def _shown(request: Request) -> str:
    parts = urlsplit(request.remote)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _candidates(ref: str) -> list[str]:
    """Full names that a short one may have, in git's own order."""
    if not ref:
        return ["HEAD"]
    if ref.startswith("refs/"):
        return [ref, f"{ref}^{{}}"]
    return [f"refs/tags/{ref}", f"refs/tags/{ref}^{{}}", f"refs/heads/{ref}", ref]


def _has(git: Git, mirror: Path, commit: str) -> bool:
    if not (mirror / "HEAD").exists():
        return False
    try:
        git.run(mirror, "cat-file", "-e", f"{commit}^{{commit}}")
    except BuildError:
        return False
    return True
