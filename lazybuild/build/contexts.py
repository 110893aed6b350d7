"""Build contexts that are not directories: standard input, URLs, repositories, image layouts.

Each becomes what the compiler knows: a source of the graph, a directory, or an image of the store.
What it holds as a Dockerfile is read here. Ignore files count for directories only.
"""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lazybuild.build import remotes
from lazybuild.dockerfile.contexts import ARCHIVE, git_source, http_source, unpacked
from lazybuild.dockerfile.giturl import GitUrl, parse_git_context
from lazybuild.dockerfile.options import FrontendInput
from lazybuild.errors import BuildError, UsageError
from lazybuild.estargz.entry import Kind
from lazybuild.llb.graph import Edge, Vertex, VertexOptions
from lazybuild.llb.ops import SourceOp
from lazybuild.oci import transport
from lazybuild.oci.digest import Digest, hex_part
from lazybuild.registry.redact import shown
from lazybuild.request import BuildRequest
from lazybuild.snapshots.paths import clean
from lazybuild.snapshots.tree import Tree, resolve
from lazybuild.sources import transports
from lazybuild.sources.archives import archive_tree, is_archive
from lazybuild.store import Store

STDIN = "stdin"
URLS = ("http://", "https://")
MAX_DOCKERFILE = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A main context that is no directory of the user's: its name for the compiler, the Dockerfile
    that it holds or is, and what has to exist until the build is over (`keep`). `time` is that of
    the newest file, where nobody else can be asked for it.
    """

    context: str
    dockerfile: bytes = b""
    directories: Mapping[str, Path] = field(default_factory=dict)
    inputs: Mapping[str, FrontendInput] = field(default_factory=dict)
    keep: object = None
    time: int | None = None


def read(request: BuildRequest) -> Remote | None:
    """The main context, or None for a directory."""
    if request.context == "-":
        return _stdin(request)
    if Path(request.context).is_dir():
        return None
    if url := git_url(request.context):
        return _git(request, url)
    if request.context.startswith(URLS):
        return _http(request)
    return None


def git_url(text: str) -> GitUrl | None:
    try:
        return parse_git_context(text)
    except ValueError as error:
        raise UsageError(f"{shown(text)}: {error}") from error


def given_dockerfile(request: BuildRequest) -> bytes | None:
    """The Dockerfile from standard input or from behind a URL; None for a file by its name."""
    if request.dockerfile == "-":
        return request.stdin
    if not request.dockerfile.startswith(URLS):
        return None
    with Store(request.root) as store:
        file = remotes.downloads(store, request).file(http_source(request.dockerfile, ARCHIVE))
        if file.size > MAX_DOCKERFILE:
            raise UsageError(f"{shown(request.dockerfile)}: too large for a Dockerfile")
        return store.blobs.path(file.digest).read_bytes()


def _stdin(request: BuildRequest) -> Remote:
    """A tar archive, or a Dockerfile that copies nothing."""
    if request.dockerfile == "-":
        raise UsageError("standard input can't be both the context and the Dockerfile")
    if not request.stdin:
        raise UsageError("the context should come on standard input, and nothing came")
    place = _place()
    home = Path(place.name)
    (home / ARCHIVE).write_bytes(request.stdin)
    if not is_archive(home / ARCHIVE):
        place.cleanup()
        return _alone(request.stdin)
    source = Vertex(
        op=SourceOp(identifier=f"local://{STDIN}"),
        options=VertexOptions(name="[internal] load context from standard input"),
    )
    return Remote(
        context=f"input:{STDIN}",
        dockerfile=_found(_archive(home / ARCHIVE), request),
        directories={STDIN: home},
        inputs={STDIN: FrontendInput(head=unpacked(Edge(source)))},
        keep=place,
        time=remotes.newest(home / ARCHIVE),
    )


def _http(request: BuildRequest) -> Remote:
    """An archive behind a URL; anything else there is the Dockerfile itself."""
    with Store(request.root) as store:
        file = remotes.downloads(store, request).file(http_source(request.context, ARCHIVE))
        path = store.blobs.path(file.digest)
        if is_archive(path):
            return Remote(context=request.context, dockerfile=_found(_archive(path), request))
        if file.size > MAX_DOCKERFILE:
            raise UsageError(f"{shown(request.context)}: neither an archive nor a Dockerfile")
        return _alone(path.read_bytes())


def _alone(dockerfile: bytes) -> Remote:
    """A Dockerfile that copies nothing: its context is an empty directory."""
    place = _place()
    directories = {"context": Path(place.name)}
    return Remote(
        context="local:context", dockerfile=dockerfile, directories=directories, keep=place
    )


def _place() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="lazybuild-context-")


def _git(request: BuildRequest, url: GitUrl) -> Remote:
    op = git_source(url)
    with Store(request.root) as store:
        sources = remotes.repositories(store, request)
        with sources.checkout(op, sources.commit(op)) as checkout:
            return Remote(context=request.context, dockerfile=_found(checkout.tree, request))


def _archive(path: Path) -> Tree:
    return archive_tree(path, now=time.time_ns())


def _found(tree: Tree, request: BuildRequest) -> bytes:
    """The Dockerfile inside a context, unless it is given otherwise."""
    if (given := given_dockerfile(request)) is not None:
        return given
    for name in (request.dockerfile,) if request.dockerfile else ("Dockerfile", "dockerfile"):
        path = resolve(tree, clean(name))
        node = tree.lookup(path)
        if node is None:
            continue
        if node.kind is not Kind.REG or node.size > MAX_DOCKERFILE:
            raise BuildError(f"{name} of the context is no file, or too large for a Dockerfile")
        with tree.open(path) as file:
            return file.read(MAX_DOCKERFILE)
    wanted = request.dockerfile or "Dockerfile"
    raise BuildError(f"{shown(request.context)}: there is no {wanted}", hint="name one with -f")


def named(request: BuildRequest) -> Mapping[str, str]:
    """Contexts by name; an image of this machine is taken over by the store and named there."""
    found = {}
    for name, value in request.build_contexts.items():
        local = transports.parse(value)
        if local is None:
            bare = transport.bare(value)
            found[name] = value if bare == value else f"docker-image://{bare}"
        else:
            from lazybuild.sources.layouts import take_over  # noqa: PLC0415 - few builds need it

            with Store(request.root) as store:
                digest = take_over(store, local)
            here = f"docker-image://{local.called(digest)}"
            found[name] = lent(digest) if request.builders else here
    return found


def lent(digest: Digest) -> str:
    """An image of this machine, as another one finds it: by what it is, and not where it lies."""
    return f"oci-layout://lazybuild/{hex_part(digest)[:16]}@{digest}"
