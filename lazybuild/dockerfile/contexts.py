"""Source vertices: the main context, named contexts, images.

What is used of a local source is known only when every stage has been lowered; until then a
placeholder stands for it, and `finish` puts the real source in its place.
"""

import json
from collections.abc import Mapping
from dataclasses import replace

from lazybuild.dockerfile import paths
from lazybuild.dockerfile.excerpt import masked
from lazybuild.dockerfile.fileops import FileBuilder
from lazybuild.dockerfile.giturl import GitUrl, parse_git_context
from lazybuild.dockerfile.options import MAIN_CONTEXT, CompileOptions
from lazybuild.errors import UsageError
from lazybuild.llb.graph import Edge, Vertex, VertexOptions, walk
from lazybuild.llb.ops import CopyAction, Platform, SourceOp
from lazybuild.oci.digest import Digest

ARCHIVE = "context"
EPOCH = "SOURCE_DATE_EPOCH"
KEEP_GIT_DIR = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"


class Contexts:
    """The sources of one compilation, and what is used of the local ones."""

    def __init__(self, options: CompileOptions) -> None:
        self._options = options
        self._used: dict[str, list[set[str]]] = {}
        self._names: dict[str, str] = {}
        self._main: Edge | None = None

    def main(self, path: str) -> Edge | None:
        """The main context, of which `path` is used."""
        kind, _, value = self._options.context.partition(":")
        if kind == "local":
            return self.local(value, {paths.inside(path)}, "[internal] load build context")
        if self._main is None:
            self._main = self._remote(self._options.context)
        return self._main

    def local(self, name: str, used: set[str], title: str) -> Edge:
        """A directory of the client's. `used` may grow until `finish`."""
        self._used.setdefault(name, []).append(used)
        self._names.setdefault(name, title)
        return Edge(Vertex(op=SourceOp(identifier=f"local://{name}")))

    def _remote(self, value: str) -> Edge | None:
        if value.startswith("input:"):
            return self._options.inputs[value.removeprefix("input:")].head
        if url := parse_git_context(value):
            keep = self._options.build_args.get(KEEP_GIT_DIR, "").lower() in {"1", "true", "t"}
            dated = self._options.epoch is not None or EPOCH in self._options.build_args
            url = replace(
                url,
                keep_git_dir=url.keep_git_dir or keep,
                mtime=url.mtime or ("commit" if dated else ""),
            )
            return git(url, f"[internal] load git source {masked(value)}")
        if value.startswith(("http://", "https://")):
            return unpacked(http(value, ARCHIVE, "[internal] load remote build context"))
        raise UsageError(f"unsupported build context: {value}")

    def finish(self, head: Edge | None) -> tuple[Edge | None, Mapping[str, tuple[str, ...]]]:
        """`head` with the real local sources, and what is used of each."""
        used = {name: paths.used(set().union(*found)) for name, found in self._used.items()}
        real = {f"local://{name}": self._local(name, follow) for name, follow in used.items()}
        return substitute(head, real), used

    def _local(self, name: str, follow: tuple[str, ...]) -> Vertex:
        main = name == MAIN_CONTEXT
        ignored = self._options.ignored if main else self._options.ignored_in.get(name, ())
        attrs = {"local.sharedkeyhint": name}
        if ignored:
            attrs["local.excludepatterns"] = json.dumps(list(ignored))
        if follow:
            attrs["local.followpaths"] = json.dumps(list(follow))
        op = SourceOp(identifier=f"local://{name}", attrs=tuple(sorted(attrs.items())))
        return Vertex(op=op, options=VertexOptions(name=self._names[name]))


def image(name: str, platform: Platform, options: VertexOptions) -> Edge:
    """An image by its full name, pinned where its digest is known."""
    op = SourceOp(identifier=f"docker-image://{name}")
    return Edge(Vertex(op=op, platform=platform, options=options))


def layout(store: str, digest: Digest, platform: Platform, title: str) -> Edge:
    """An image of an OCI layout that the client holds under the name `store`."""
    op = SourceOp(identifier=f"oci-layout://{store}@{digest}", attrs=(("oci.store", store),))
    return Edge(Vertex(op=op, platform=platform, options=VertexOptions(name=title)))


def git_source(url: GitUrl) -> SourceOp:
    return SourceOp(identifier=url.identifier, attrs=tuple(sorted(url.attrs().items())))


def git(url: GitUrl, title: str) -> Edge:
    return Edge(Vertex(op=git_source(url), options=VertexOptions(name=title)))


def http_source(url: str, filename: str, checksum: str = "") -> SourceOp:
    attrs = {"http.filename": filename} | ({"http.checksum": checksum} if checksum else {})
    return SourceOp(identifier=url, attrs=tuple(sorted(attrs.items())))


def http(url: str, filename: str, title: str, checksum: str = "") -> Edge:
    op = http_source(url, filename, checksum)
    return Edge(Vertex(op=op, options=VertexOptions(name=title)))


def unpacked(archive: Edge) -> Edge:
    """A fetched archive's files (or the file itself, when it is none)."""
    builder = FileBuilder(None)
    copy = CopyAction(src=f"/{ARCHIVE}", dest="/", attempt_unpack=True)
    builder.add(copy, archive)
    return builder.build(VertexOptions(name="[internal] unpack remote build context"))


def substitute(head: Edge | None, real: Mapping[str, Vertex]) -> Edge | None:
    """The same graph with other vertices for the placeholders that `real` names.

    A source that has attributes is none: it came with the graph of another compilation.
    """
    if head is None or not real:
        return head
    made: dict[str, Vertex] = {}
    for vertex in walk(head.vertex):
        rebuilt = _rebuilt(vertex, made, real)
        made[vertex.digest] = made[rebuilt.digest] = rebuilt
    return Edge(made[head.vertex.digest], head.index)


def _rebuilt(vertex: Vertex, made: Mapping[str, Vertex], real: Mapping[str, Vertex]) -> Vertex:
    if isinstance(vertex.op, SourceOp):
        return vertex if vertex.op.attrs else real.get(vertex.op.identifier, vertex)
    inputs = tuple(Edge(made[edge.vertex.digest], edge.index) for edge in vertex.inputs)
    return Vertex(op=vertex.op, inputs=inputs, platform=vertex.platform, options=vertex.options)
