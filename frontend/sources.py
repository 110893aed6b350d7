"""What a build starts from: the Dockerfile, the ignore files and the contexts, through the gateway.

Everything is read out of graphs that BuildKit solves; nothing here touches a file of its own.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from frontend.options import Options
from lazybuild.dockerfile import contexts, paths
from lazybuild.dockerfile.excerpt import masked
from lazybuild.dockerfile.giturl import parse_git_context
from lazybuild.dockerfile.ignore import read_patterns
from lazybuild.dockerfile.nodes import Document
from lazybuild.dockerfile.options import FrontendInput
from lazybuild.dockerfile.parse import parse
from lazybuild.errors import UsageError
from lazybuild.llb.graph import Edge, Vertex, VertexOptions, walk
from lazybuild.llb.ops import CopyAction, FileAction, FileOp, SourceOp
from lazybuild.oci import codec
from lazybuild.wire.encode import Encoded, Style, Text, encode
from lazybuild.wire.faults import RemoteError
from lazybuild.wire.gateway import Gateway

DOCKERFILE = "dockerfile"
IGNORE = ".dockerignore"
MAIN_INPUT = "\0main"
HEAD = 1024
ARCHIVES = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
TAR_MAGIC = slice(257, 262)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What was found. `loaded` is the vertex that warnings hang on, as BuildKit names it."""

    document: Document
    loaded: str
    context: str
    contexts: Mapping[str, str]
    origin: SourceOp | None = None
    inputs: Mapping[str, FrontendInput] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    ignored_in: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def text(self) -> Text:
        data = self.document.source.encode("utf-8", "surrogateescape")
        return Text(path=self.document.path, data=data)


class Loader:
    """Reads the sources of one build."""

    def __init__(self, gateway: Gateway, options: Options) -> None:
        self._gateway = gateway
        self._options = options
        self._unique = secrets.token_hex(8)

    def load(self) -> Sources:
        options = self._options
        given = self._inputs()
        remote, name = self._remote(given)
        local = f"local:{options.context_key}"
        source = self._dockerfile_source(given, remote)
        loaded, ref = self._solve(source)
        document = self._document(ref, name)
        inputs = {key: self._input(key, head) for key, head in given.items()}
        found = Sources(
            document=document,
            loaded=loaded.digests[source.vertex.digest],
            context=local if remote is None else f"input:{MAIN_INPUT}",
            contexts=options.contexts,
            origin=_origin(remote) if options.context else None,
            inputs=inputs | {MAIN_INPUT: FrontendInput(head=remote)},
        )
        return self._with_ignores(found, ref if remote is None else "", is_local=remote is None)

    def style(self, texts: tuple[Text, ...] = ()) -> Style:
        """How graphs of this build are written."""
        return Style(
            attrs=self._attrs,
            texts=texts,
            offered=self._gateway.offer.llb,
            resources=self._options.resources,
        )

    def _attrs(self, source: SourceOp) -> Mapping[str, str]:
        """A local belongs to a session; an image is looked for where the options say."""
        scheme, _, name = source.identifier.partition("://")
        if scheme == "local":
            hint = self._options.text(f"sharedkey:localdir:{name}", name)
            return {
                "local.session": self._options.session_of(name),
                "local.unique": self._unique,
                "local.sharedkeyhint": hint,
            }
        if scheme == "oci-layout":
            return {"oci.session": self._options.session}
        mode = self._options.resolve_mode
        if scheme == "docker-image" and mode != "default":
            return {"image.resolvemode": mode}
        return {}

    def _solve(self, source: Edge | None) -> tuple[Encoded, str]:
        graph = encode(source, self.style())
        return graph, self._gateway.solve(graph)

    # --- the Dockerfile --------------------------------------------------------------------------

    def _dockerfile_source(self, given: Mapping[str, Edge | None], remote: Edge | None) -> Edge:
        """A local that is named, else the remote context, a graph of the client's, or a local."""
        if not self._options.dockerfile_key:
            found = remote if self._options.context else given.get(DOCKERFILE)
            if found is not None:
                return found
        name, local = self._options.filename, self._options.dockerfile_key or DOCKERFILE
        wanted = [name, f"{name}{IGNORE}"]
        if name == "Dockerfile":
            wanted.append(name.lower())
        title = f"[internal] load build definition from {name}"
        return _local(local, wanted, title)

    def _document(self, ref: str, name: str) -> Document:
        try:
            return parse(self._gateway.read_file(ref, name), name)
        except RemoteError as error:
            if name != "Dockerfile":
                raise UsageError(f"failed to read dockerfile: {error.message}") from error
        lower = name.lower()
        try:
            return parse(self._gateway.read_file(ref, lower), lower)
        except RemoteError as error:
            raise UsageError(f"failed to read dockerfile: {error.message}") from error

    # --- the main context ------------------------------------------------------------------------

    def _remote(self, given: Mapping[str, Edge | None]) -> tuple[Edge | None, str]:
        """The context where it isn't a directory of the client's, and the Dockerfile's name."""
        value, name = self._options.context, self._options.filename
        if not value:
            head = given.get(self._options.context_key)
            return self._inside(head), name
        if url := parse_git_context(value):
            keep = self._options.build_args.get(contexts.KEEP_GIT_DIR, "").lower() in {"1", "true"}
            url = replace(url, keep_git_dir=url.keep_git_dir or keep)
            title = f"[internal] load git source {masked(value)}"
            return self._inside(contexts.git(url, title)), name
        if value.startswith(("http://", "https://")):
            return self._download(value)
        raise UsageError(f"unsupported build context: {value}")

    def _download(self, url: str) -> tuple[Edge | None, str]:
        """An archive is unpacked; anything else is the Dockerfile itself."""
        archive = contexts.http(url, contexts.ARCHIVE, "[internal] load remote build context")
        _, ref = self._solve(archive)
        head = self._gateway.read_file(ref, contexts.ARCHIVE, length=HEAD)
        if head.startswith(ARCHIVES) or head[TAR_MAGIC] == b"ustar":
            return self._inside(contexts.unpacked(archive)), self._options.filename
        return archive, contexts.ARCHIVE

    def _inside(self, head: Edge | None) -> Edge | None:
        """A directory of the context as the whole of it."""
        below = paths.inside(self._options.text("contextsubdir"))
        if head is None or below == "/":
            return head
        copy = CopyAction(src=below, dest="/", dir_copy_contents=True)
        op = FileOp(actions=(FileAction(action=copy, secondary_input=0, output=0),))
        return Edge(Vertex(op=op, inputs=(head,), options=VertexOptions(name="[internal] subdir")))

    # --- inputs and ignore files -----------------------------------------------------------------

    def _inputs(self) -> Mapping[str, Edge | None]:
        if not self._gateway.offer.frontend.get("frontend.inputs", False):
            return {}
        return self._gateway.inputs()

    def _input(self, key: str, head: Edge | None) -> FrontendInput:
        """A graph of the client's, with the image config that it was told to come with."""
        text = self._options.text(f"input-metadata:{key}")
        if not text:
            return FrontendInput(head=head)
        try:
            metadata = json.loads(text)
            config = metadata["containerimage.config"]
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"input-metadata:{key} holds no image config") from error
        data = config if isinstance(config, str) else json.dumps(config)
        return FrontendInput(head=head, config=codec.parse_config(data.encode()))

    def _with_ignores(self, found: Sources, ref: str, *, is_local: bool) -> Sources:
        named = {value.removeprefix("local:") for value in found.contexts.values()}
        places = sorted(name for name in named if f"local:{name}" in found.contexts.values())
        others = {name: self._ignored(name, "") for name in places}
        if not is_local:
            return replace(found, ignored_in=others)
        own = self._ignored(self._options.context_key, self._beside(found.document.path, ref))
        if found.context == "local:context":
            return replace(found, ignored=own, ignored_in=others)
        return replace(found, ignored_in=others | {self._options.context_key: own})

    def _beside(self, dockerfile: str, ref: str) -> str:
        """The text of the ignore file that belongs to this Dockerfile alone."""
        return self._optional(ref, f"{dockerfile}{IGNORE}")

    def _ignored(self, local: str, own: str) -> tuple[str, ...]:
        text = own
        if not text:
            _, ref = self._solve(_local(local, [IGNORE], f"[internal] load {IGNORE}"))
            text = self._optional(ref, IGNORE)
        return read_patterns(text.encode("utf-8", "surrogateescape"), IGNORE)

    def _optional(self, ref: str, name: str) -> str:
        folder, _, last = name.rpartition("/")
        try:
            if last not in self._gateway.names(ref, folder or "/", last):
                return ""
        except RemoteError:
            return ""  # there is not even the directory
        return self._gateway.read_file(ref, name).decode("utf-8", "surrogateescape")


def _origin(remote: Edge | None) -> SourceOp | None:
    """The one source below a context that is no directory of the client's."""
    below = walk(remote.vertex) if remote else ()
    return next((vertex.op for vertex in below if isinstance(vertex.op, SourceOp)), None)


def _local(name: str, wanted: list[str], title: str) -> Edge:
    attrs = {"local.followpaths": json.dumps(wanted), "local.differ": "none"}
    op = SourceOp(identifier=f"local://{name}", attrs=tuple(sorted(attrs.items())))
    return Edge(Vertex(op=op, options=VertexOptions(name=title)))
