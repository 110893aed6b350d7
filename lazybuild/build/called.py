"""The built-in compiler where a frontend calls it: `dockerfile.v0` over what the caller gives.

What the caller leaves out is the user's: the context, the Dockerfile, their ignore files.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from lazybuild.bridge.answers import Made
from lazybuild.bridge.granted import Grants
from lazybuild.build import translate
from lazybuild.build.compiling import compile_checked
from lazybuild.build.contexts import git_url
from lazybuild.build.frontend_options import LOCAL, request_of
from lazybuild.build.inputs import MAIN, MAX_DOCKERFILE, Inputs
from lazybuild.dockerfile.options import Compiled, FrontendInput, Resolver
from lazybuild.errors import BuildError, UsageError
from lazybuild.events import Sink
from lazybuild.llb.graph import Edge, Vertex
from lazybuild.llb.ops import SourceOp
from lazybuild.oci import codec
from lazybuild.remote.engine import CONFIG, PLATFORMS, platforms
from lazybuild.request import BuildRequest
from lazybuild.snapshots.tree import Tree, resolve
from lazybuild.wire.asked import Call, UnimplementedError

BASE = "containerimage.base.config"
EPOCH = "source.date.epoch"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltIn:
    """The compiler for the frontends of one build. `files` are those of a graph."""

    request: BuildRequest
    given: Inputs
    grants: Grants
    resolver: Resolver
    files: Callable[[Edge], Tree]
    sink: Sink

    def make(self, call: Call) -> Made:
        if call.options.get("requestid"):
            raise UnimplementedError("a called frontend answers no questions in lazybuild")
        request = request_of(self.request, call.options)
        given = self._inputs(call, request)
        made = [self._compiled(request, given, name) for name in request.platforms or ("",)]
        several = len(made) > 1
        metadata = {PLATFORMS: platforms(made)}
        for one in made:
            metadata |= _metadata(one, f"/{one.platform}" if several else "")
        return Made(
            heads={str(one.platform) if several else "": one.head for one in made},
            metadata=metadata,
            sources={given.path: given.data},
        )

    def _compiled(self, request: BuildRequest, given: Inputs, platform: str) -> Compiled:
        one = replace(request, platforms=(platform,) if platform else ())
        options = translate.compile_options(one, given)
        options = replace(options, multi_platform=len(request.platforms) > 1)
        return compile_checked(one, given, options, self.resolver, self.sink)

    def _inputs(self, call: Call, request: BuildRequest) -> Inputs:
        inputs = {name: _input(call, name, head) for name, head in call.inputs.items()}
        own = MAIN not in inputs
        given = replace(
            self.given,
            path=request.dockerfile,
            data=self._dockerfile(call, request.dockerfile),
            frontend=None,
            context=self._context(call),
            contexts=request.build_contexts,
            inputs=inputs,
            ignored=self.given.ignored if own else (),
            time=self.given.time if own else None,
            title="",
        )
        for value in given.contexts.values():
            if value.startswith("local:"):
                self._require_local(value.removeprefix("local:"))
        return given

    def _context(self, call: Call) -> str:
        if MAIN in call.inputs:
            return f"input:{MAIN}"
        if url := call.options.get(MAIN, ""):
            if not url.startswith(("http://", "https://")) and not git_url(url):
                raise UsageError(f"unsupported build context: {url[:200]}")
            return url
        self._require_local(MAIN)
        return f"local:{MAIN}"

    def _dockerfile(self, call: Call, name: str) -> bytes:
        """Out of a directory that the caller names, or its graph, else as the user gave it."""
        key = call.options.get("dockerfilekey", "")
        if not key and LOCAL in call.inputs:
            return self._read(call.inputs[LOCAL], name)
        if not key and LOCAL not in self.given.directories:
            return self.given.data
        key = key or LOCAL
        self._require_local(key)
        return self._read(Edge(Vertex(op=SourceOp(identifier=f"local://{key}"))), name)

    def _read(self, head: Edge | None, name: str) -> bytes:
        tree = self.files(head) if head is not None else None
        path = resolve(tree, name) if tree is not None else name
        node = tree.lookup(path) if tree is not None else None
        if tree is None or node is None:
            raise BuildError(f"failed to read dockerfile: {name[:200]}: no such file")
        if node.size > MAX_DOCKERFILE:
            raise UsageError(f"{name[:200]} is larger than {MAX_DOCKERFILE >> 20} MiB")
        with tree.open(path) as file:
            return file.read(MAX_DOCKERFILE)

    def _require_local(self, name: str) -> None:
        self.grants.admit(SourceOp(identifier=f"local://{name}"))


def _input(call: Call, name: str, head: Edge | None) -> FrontendInput:
    """A graph, with the image config that the caller says it comes with."""
    text = call.options.get(f"input-metadata:{name}", "")
    if not text:
        return FrontendInput(head=head)
    try:
        config = json.loads(text)[CONFIG]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"input-metadata:{name[:80]} holds no image config") from error
    data = config if isinstance(config, str) else json.dumps(config)
    return FrontendInput(head=head, config=codec.parse_config(data.encode("utf-8", "replace")))


def _metadata(made: Compiled, ending: str) -> Mapping[str, bytes]:
    found = {CONFIG + ending: codec.encode(made.config)}
    if made.base is not None:
        found[BASE + ending] = codec.encode(made.base.config)
    if made.epoch is not None:
        found[EPOCH + ending] = str(made.epoch).encode()
    return found
