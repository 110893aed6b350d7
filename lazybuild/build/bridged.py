"""The composition root of a frontend image: its process over its image, answers from the engine.

What it hands back takes the place of what our compiler makes of a Dockerfile.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory

from lazybuild.bridge import files, process
from lazybuild.bridge.answers import Bridge, Given, Made
from lazybuild.bridge.conversation import Conversation, Patience
from lazybuild.bridge.granted import Grants
from lazybuild.bridge.handed import compiled
from lazybuild.bridge.offer import offer
from lazybuild.build import remotes, translate
from lazybuild.build.called import BuiltIn
from lazybuild.build.collect import task
from lazybuild.build.engine import Engine
from lazybuild.build.frontend_options import LOCAL, filename, has_own_file, options
from lazybuild.build.inputs import MAIN, Inputs
from lazybuild.build.jobs import Part
from lazybuild.build.resolver import ImageResolver
from lazybuild.build.space import Space
from lazybuild.dockerfile.draft import DEFAULT_PATH
from lazybuild.dockerfile.syntax import BUILT_IN, Frontend, is_dockerfile_frontend
from lazybuild.errors import BuildError, LazybuildError, UsageError
from lazybuild.events import Noted, Sink, VertexLog
from lazybuild.executor.spec import StepSpec
from lazybuild.exporters.attestation import Predicate
from lazybuild.llb.graph import Edge, Vertex, VertexOptions
from lazybuild.llb.ops import ExecOp, Meta, Mount, NetworkMode, Platform, SourceOp
from lazybuild.oci import codec, platform, reference
from lazybuild.request import BuildRequest
from lazybuild.snapshots.tree import EmptyTree, Tree
from lazybuild.sources.images import Image
from lazybuild.wire.asked import Call, FoundSource, UnimplementedError
from lazybuild.wire.bridge import worker_json
from lazybuild.wire.encode import encode
from lazybuild.wire.gateway import FoundImage, Offer, Outcome, Statement
from lazybuild.worker.services import AnyOf, scheme

IMAGE = "docker-image://"
RUN = ("/run",)
GATEWAY = "gateway.v0"
MAX_DEPTH = 4
NO_NETWORK = "moby.buildkit.frontend.network.none"
CAPABILITIES = "moby.buildkit.frontend.caps"
INPUTS = "moby.buildkit.frontend.inputs"
TRUE = frozenset({"1", "t", "true"})
PRODUCT = "lazybuild"
QUESTIONS = {"check": "frontend.lint"}


@contextmanager
def granted(given: Inputs) -> Iterator[Inputs]:
    """The inputs with a directory for the frontend that has the Dockerfile and its ignore file."""
    if not has_own_file(given):
        yield given
        return
    if LOCAL in given.directories:
        raise UsageError(f"with a frontend image no context can be called {LOCAL!r}")
    with TemporaryDirectory(prefix="lazybuild-") as folder:
        place, name = Path(folder), filename(given)
        (place / name).write_bytes(given.data)
        if given.own_ignore:
            (place / f"{name}.dockerignore").write_bytes(given.own_ignore)
        yield replace(given, directories={**given.directories, LOCAL: place})


def build(space: Space, request: BuildRequest, given: Inputs, engine: Engine, sink: Sink) -> Part:
    """What the frontend of `given` makes of it. The space must have been entered."""
    work = _Work(space, request, given, engine, sink)
    with work.talking() as bridge:
        outcome = work.outcome(bridge)
        made = compiled(outcome, bridge.refs, translate.here(), request.epoch)
        stated = [
            _predicate(statement, bridge.refs.get(statement.ref), engine, request)
            for each in outcome.statements.values()
            for statement in each
        ]
    return Part(compiled=replace(made, stage=request.target), stated=tuple(stated))


def _predicate(
    statement: Statement, head: Edge | None, engine: Engine, request: BuildRequest
) -> Predicate:
    tree = engine.look(head, request.stop) if head is not None else EmptyTree()
    try:
        body = json.loads(files.read(tree, statement.path, offset=0, length=None))
    except (ValueError, RecursionError) as error:
        raise BuildError(f"what the frontend states in {statement.path} is no JSON") from error
    if not isinstance(body, dict):
        raise BuildError(f"what the frontend states in {statement.path} is no JSON object")
    return Predicate(type=statement.type, body=body)


def ask(
    space: Space, request: BuildRequest, given: Inputs, engine: Engine, sink: Sink, *, method: str
) -> Mapping[str, bytes]:
    """What the frontend of `given` answers to a question about it. As `build`."""
    work = _Work(space, request, given, engine, sink)
    with work.talking() as bridge:
        return work.outcome(bridge, QUESTIONS.get(method, f"frontend.{method}")).metadata


def answer(said: Mapping[str, bytes], *, json: bool) -> tuple[str, int]:
    """The text for the user, and the code to end with."""
    kind = "result.json" if json else "result.txt"
    if kind not in said:
        raise BuildError(f"the frontend gives no {kind}")
    status = said.get("result.statuscode", b"0")
    failed = not status.isdigit() or int(status[:9]) != 0
    return said[kind].decode("utf-8", "replace"), int(failed)


class _Work:
    """One frontend at work, the user's or, with `calls`, one that another one calls."""

    def __init__(
        self,
        space: Space,
        request: BuildRequest,
        given: Inputs,
        engine: Engine,
        sink: Sink,
        *,
        calls: "tuple[_Work, Call] | None" = None,
    ) -> None:
        if given.frontend is None:
            raise ValueError("the built-in compiler is no frontend image")
        self._frontend = given.frontend
        self._space = space
        self._request = request
        self.given = given
        self._engine = engine
        self._sink = sink
        self._session = token_hex(12)
        caller = calls[0] if calls else None
        self._call = calls[1] if calls else None
        self.depth: int = caller.depth + 1 if caller else 0
        self.over = threading.Event()
        self.stop: threading.Event = request.stop
        self.lock = threading.Lock()
        if caller:
            self.stop = AnyOf(caller.stop, caller.over)
            self.lock = caller.lock
        self._talk = Conversation(Patience())

    @contextmanager
    def talking(self) -> Iterator[Bridge]:
        """What answers the frontend; errors are shown with the files that it sent."""
        solving = Solving(self, self._space, self._request, self._engine, self._sink)
        given = Given(offer=offer(translate.here()), grants=self.grants, inputs=self._inputs())
        bridge = Bridge(solving, given, self._talk, self._sink)
        with bridge.explained():
            yield bridge

    def outcome(self, bridge: Bridge, question: str = "") -> Outcome:
        """Run the process to its end. A question is asked instead of building."""
        image = self._image()
        told = options(self._request, self.given, self._frontend, question)
        if self._call is not None:
            told = self._call.options
        _require_capabilities(image, told, self._inputs())
        title = f"[internal] run frontend {self._frontend.image}"
        source, step = _vertices(image, title)
        snapshot = self._engine.images.snapshot(image)
        self._engine.tools |= {layer.digest for layer in image.manifest.layers}
        self._engine.ahead.begin([step])
        with (
            task(self._sink, title),
            self._engine.snapshots.mount(snapshot) as place,
            self._engine.trace.watch(step, snapshot, place.merged),
        ):
            spec = self._spec(image, place.merged, told, bridge.offer())
            if spec.argv != RUN:  # else there is a program where a directory would have to be
                own = encode(Edge(source)).definition.SerializeToString()
                spec = process.with_own_image(spec, own)
            outcome = process.converse(
                spec,
                bridge,
                self._talk,
                self.stop,
                name=self._frontend.image,
                let_go=self.over.set,
                listen=partial(self._listen, title),
            )
        self._space.check()
        return outcome

    def called(self, image: str, call: Call) -> Made:
        """What another frontend makes for this one."""
        if self.depth >= MAX_DEPTH:
            raise BuildError(f"frontends call one another more than {MAX_DEPTH} times deep")
        given = replace(self.given, frontend=Frontend(image=image, line=image))
        work = _Work(
            self._space, self._request, given, self._engine, self._sink, calls=(self, call)
        )
        with work.talking() as bridge:
            outcome = work.outcome(bridge)
        if outcome.statements:
            raise UnimplementedError("attestations of a called frontend are not in lazybuild")
        return Made(
            heads={name: bridge.refs.get(ref) for name, ref in outcome.refs.items()},
            metadata=outcome.metadata,
            sources=bridge.refs.sources(),
        )

    def _listen(self, title: str, stream: int, data: bytes) -> None:
        self._sink(VertexLog(vertex=title, stream=stream, data=data))

    def _image(self) -> Image:
        frontend = self._frontend
        name = frontend.image
        if other := self.given.contexts.get(name, ""):
            if not other.startswith(IMAGE):
                raise UsageError(f"--build-context {name}={other}: a frontend is an image")
            name = other.removeprefix(IMAGE)
        try:
            ref = reference.parse(name)
            with task(self._sink, f"[internal] load frontend {frontend.image}"):
                return self._engine.images.find(ref, platform.host())
        except LazybuildError as error:
            error.span = error.span or frontend.span
            raise

    @property
    def grants(self) -> Grants:
        return Grants(
            session=self._session,
            locals=frozenset(self.given.directories),
            entitlements=frozenset(self._request.allow),
        )

    def _inputs(self) -> Mapping[str, Edge | None]:
        """A context that is a graph of ours, for the Dockerfile too unless that is given apart."""
        if self._call is not None:
            return self._call.inputs
        found = self.given.inputs.get(self.given.context.partition(":")[2])
        if found is None:
            return {}
        return dict.fromkeys((MAIN,) if self.given.apart else (MAIN, LOCAL), found.head)

    def _spec(
        self, image: Image, rootfs: Path, told: Mapping[str, str], offered: Offer
    ) -> StepSpec:
        container = image.config.config
        env = {
            "BUILDKIT_SESSION_ID": self._session,
            "BUILDKIT_WORKERS": json.dumps([worker_json(worker) for worker in offered.workers]),
            "BUILDKIT_EXPORTEDPRODUCT": PRODUCT,
        }
        none = self._request.network == NetworkMode.NONE or self._is_silent(container.labels)
        return StepSpec(
            argv=container.entrypoint or RUN,
            rootfs=rootfs,
            env=process.environment((f"PATH={DEFAULT_PATH}", *container.env), told, env),
            cwd=container.working_dir or "/",
            network=NetworkMode.NONE if none else NetworkMode.UNSET,
            host=self._space.entered,
        )

    def _is_silent(self, labels: Mapping[str, str]) -> bool:
        """Whether an image that says it needs no network can be held to that."""
        silent = labels.get(NO_NETWORK, "").lower() in TRUE
        if silent and not self._space.entered.mounts:
            text = "the frontend wants no network, and this host can't take it away (T6)"
            self._sink(Noted(message=text))
            return False
        return silent


def _vertices(image: Image, title: str) -> tuple[Vertex, Vertex]:
    """The image as a source, and a step that stands for its process, for records of its reads."""
    op = SourceOp(identifier=f"{IMAGE}{image.reference}")
    source = Vertex(op=op, platform=translate.here())
    args = image.config.config.entrypoint or RUN
    step = ExecOp(meta=Meta(args=args), mounts=(Mount(dest="/", input=0, output=0),))
    return source, Vertex(op=step, inputs=(Edge(source),), options=VertexOptions(name=title))


def _require_capabilities(
    image: Image, told: Mapping[str, str], inputs: Mapping[str, Edge | None]
) -> None:
    """What the build needs of the frontend must be on the label of its image."""
    label = image.config.config.labels.get(CAPABILITIES, "")
    known = {_plain(name) for name in label.split(",")}
    wanted = {_plain(name) for name in told.get("frontend.caps", "").split(",")} - {""}
    if inputs:
        wanted.add(INPUTS)
    if missing := sorted(wanted - known):
        raise BuildError(
            f"the frontend {image.reference.familiar} does not support {', '.join(missing)}",
            hint=f"its label {CAPABILITIES} would say so",
        )


def _plain(name: str) -> str:
    return name.strip().partition("+")[0]


class Solving:
    """The engine as a frontend's answers need it. One graph at a time, each in parallel."""

    def __init__(
        self, work: _Work, space: Space, request: BuildRequest, engine: Engine, sink: Sink
    ) -> None:
        self._work = work
        self._space = space
        self._request = request
        self._engine = engine
        self._sink = sink
        self._images = ImageResolver(engine.images, sink, store=space.store)
        self._downloads = remotes.downloads(space.store, request)
        self._repositories = remotes.repositories(space.store, request)

    def tree(self, head: Edge) -> Tree:
        with self._work.lock:
            return self._engine.look(head, self._work.over)

    def call(self, call: Call) -> Made:
        if call.frontend not in (BUILT_IN, GATEWAY):
            raise UnimplementedError(f"the frontend {call.frontend[:80]} is not in lazybuild")
        image = call.options.get("source", "") if call.frontend == GATEWAY else ""
        if call.frontend == GATEWAY and not image:
            raise UsageError(f"{GATEWAY} needs the option source, an image")
        if image and not is_dockerfile_frontend(image):
            return self._work.called(image, call)
        return BuiltIn(
            request=self._request,
            given=self._work.given,
            grants=self._work.grants,
            resolver=self._images,
            files=self.tree,
            sink=self._sink,
        ).make(call)

    def image(self, name: str, platform: Platform | None) -> FoundImage:
        ref = reference.parse(name)
        found = self._images.image(str(ref), platform or translate.here())
        return FoundImage(
            reference=found.reference, digest=found.digest or "", config=codec.encode(found.config)
        )

    def source(self, source: SourceOp, *, commit: bool) -> FoundSource:
        if scheme(source) == "git":
            ref = source.identifier.partition("#")[2].partition(":")[0]
            found = self._repositories.commit(source)
            whole = self._repositories.raw(source, found) if commit else b""
            return FoundSource(checksum=found, name=ref or "HEAD", commit=whole)
        file = self._downloads.file(source)
        changed = remotes.changed(self._space.store, file)
        return FoundSource(checksum=file.digest, name=file.name, changed=changed or 0)
