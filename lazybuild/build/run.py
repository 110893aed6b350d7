"""One build from its request to its result, as a list of steps."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

from lazybuild.build import agents, extra, inputs, platforms, room, translate
from lazybuild.build.attest import attest
from lazybuild.build.collect import Collector, task
from lazybuild.build.deliver import check_pushes, deliver
from lazybuild.build.engine import Engine
from lazybuild.build.explain import explain
from lazybuild.build.finish import finish, write_blob
from lazybuild.build.inputs import Inputs
from lazybuild.build.resolver import ImageResolver
from lazybuild.build.space import Space
from lazybuild.build.stats import statistics
from lazybuild.build.veil import Veil
from lazybuild.dockerfile import checks
from lazybuild.dockerfile.compile import compile as compile_document
from lazybuild.dockerfile.options import MAIN_CONTEXT, Compiled
from lazybuild.errors import LazybuildError, ResourceError
from lazybuild.events import Sink
from lazybuild.oci import codec
from lazybuild.request import Builder, BuildRequest, BuildResult
from lazybuild.snapshots.manager import Snapshot
from lazybuild.snapshots.tree import EmptyTree, Tree
from lazybuild.store import disk
from lazybuild.worker.services import NamespaceNeededError

T = TypeVar("T")

# From what is given to a graph and a config.
Compile = Callable[[Space, BuildRequest, Inputs, Engine, Sink], Compiled]


def build(request: BuildRequest, sink: Sink, space: Space | None = None) -> BuildResult:
    """Build what is asked for and deliver it. Raises LazybuildError.

    Several builds may share a `space`, one after the other: its store, registry and namespaces.
    """
    with agents.ready(request) as given, Veil(request, sink) as veiled:
        if given.builder is not None:
            return _elsewhere(given, given.builder, veiled)
        if len(given.platforms) > 1:
            return _each_platform(given, veiled)
        return _here(given, veiled, space)


def _here(request: BuildRequest, sink: Sink, space: Space | None) -> BuildResult:
    started = time.monotonic()
    events = Collector(sink)
    with task(events, "[internal] load build definition"):
        given = inputs.read(request)
        if given.frontend is None:
            _ = given.document  # what is wrong with it is wrong with this step
    try:
        if space is not None:
            space.sink = events
            return _with_room(space, request, given, events, started)
        with open_space(request, events) as own:
            return _with_room(own, request, given, events, started)
    except LazybuildError as error:
        error.source = error.source or given.source
        raise


def _elsewhere(request: BuildRequest, builder: Builder, sink: Sink) -> BuildResult:
    with extra.libraries("--builder"):
        from lazybuild.build import remotely  # noqa: PLC0415 - as said
    return remotely.build(request, builder, sink)


def _each_platform(request: BuildRequest, sink: Sink) -> BuildResult:
    """One image after the other, over the same store and cache, then the index over them."""
    platforms.check_outputs(request)
    with open_space(request, sink) as space:
        results = [
            build(replace(request, platforms=(name,), tags=(), outputs=()), sink, space)
            for name in request.platforms
        ]
        return platforms.put_together(space, request, results)


def open_space(request: BuildRequest, sink: Sink) -> Space:
    """The surroundings that a request asks for; to be used as a context manager."""
    return Space(
        root=request.root,
        config=request.registries,
        sink=sink,
        stop=request.stop,
        isolation=request.isolation,
    )


def _with_room(
    space: Space, request: BuildRequest, given: Inputs, events: Collector, started: float
) -> BuildResult:
    """Build, once more when the disk was full and the cache could give some of it back."""
    try:
        with _explained(space):
            result = _build(space, request, given, events, started)
    except ResourceError as error:
        if not room.make(space, error):
            raise
        request.stop.clear()
        with _explained(space):
            result = _build(space, request, given, events, started)
    room.keep_within(space, request.keep_storage)
    return result


@contextmanager
def _explained(space: Space) -> Iterator[None]:
    """Say what a disk's error means, and distrust the store when bytes could not be read."""
    try:
        yield
    except OSError as error:
        told = disk.trouble(error, space.root)
        if disk.is_damage(error):
            space.store.doubt()
        if told is None:
            raise
        raise told from error
    except LazybuildError as error:
        if disk.is_damage(error.__cause__):
            space.store.doubt()
        raise


def _build(
    space: Space, request: BuildRequest, given: Inputs, events: Collector, started: float
) -> BuildResult:
    with _compiler(given) as (compile_, granted):
        engine = Engine(space, request, granted.directories, translate.writer_options(request))
        _enter_early(space, request, granted)
        check_pushes(space, request)
        compiled = compile_(space, request, granted, engine, events)
        dated = replace(request, epoch=compiled.epoch)
        engine.date(compiled.epoch, translate.writer_options(dated))
        snapshot = Snapshot()
        if compiled.head is not None:
            platforms.require_runnable(compiled.head.vertex)
            start = translate.start_of(compiled.config.config)
            snapshot = engine.solve(compiled.head.vertex, start)
    with task(events, "exporting to image"):
        notes = translate.annotations(request.annotations)
        built = _inside(space, lambda: finish(space, engine, compiled, snapshot, notes))
    tree = _inside(space, lambda: _files(request, engine, built.snapshot))
    with (
        engine.sharing(request.profile_to),
        engine.caches.exporting(partial(write_blob, space, engine)),
    ):
        stated = attest(space, request, compiled, built, tree)
        names = deliver(space, request, built, tree, compiled.epoch, stated=stated)
    engine.cache_mounts.export([solved.head for solved in engine.caches.solved], engine.options)
    for solved in engine.caches.solved:
        explain(solved, space.store, request, events.cached, events)
    return BuildResult(
        digest=(stated or built).descriptor.digest,
        config_digest=built.manifest.config.digest,
        descriptor=json.loads(codec.encode((stated or built).descriptor)),
        names=names,
        stats=statistics(space, engine, built, events, started),
        platform=str(compiled.platform),
    )


@contextmanager
def _compiler(given: Inputs) -> Iterator[tuple[Compile, Inputs]]:
    """Who makes a graph of it, and of what."""
    if given.frontend is None:
        yield _compile, given
        return
    with extra.libraries(f"the frontend {given.frontend.image}"):
        from lazybuild.build import bridged  # noqa: PLC0415 - as said
    with bridged.granted(given) as granted:
        yield bridged.build, granted


def _inside(space: Space, action: Callable[[], T]) -> T:
    """Do it here, or in the namespaces when it turns out to need them."""
    try:
        return action()
    except NamespaceNeededError:
        space.enter()
        return action()


def _files(request: BuildRequest, engine: Engine, snapshot: Snapshot) -> Tree:
    """The files of the image when an output wants them: looking at a layer may have to fetch it."""
    wanted = any(output.type in ("local", "tar") for output in request.outputs)
    return engine.snapshots.tree(snapshot) if wanted or request.sbom else EmptyTree()


def _enter_early(space: Space, request: BuildRequest, given: Inputs) -> None:
    """A store that has seen no step can't answer for one: no pass outside is worth its time."""
    if given.frontend is not None:
        space.enter()  # it runs in any case
        return
    commands = any(node.keyword == "run" for node in given.document.nodes)
    if commands and not request.cache_from and not space.store.meta.has_records():
        space.enter()


def _compile(
    space: Space, request: BuildRequest, given: Inputs, engine: Engine, events: Sink
) -> Compiled:
    root = given.directories.get(MAIN_CONTEXT)
    resolver = ImageResolver(engine.images, events, store=space.store, root=root)
    options = translate.compile_options(request, given)
    compiled = compile_document(given.document, options, resolver)
    found = checks.findings(given.document, options, compiled)
    for finding in found:
        events(translate.warning(finding))
    broken = checks.violation(found, checks.choice_of(given.document, request.build_args))
    if broken is not None:
        raise broken
    return compiled
