"""Builds from their requests to their results, as a list of steps: one, or several in one solve."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from lazybuild.build import agents, extra, platforms, room, translate
from lazybuild.build.collect import task
from lazybuild.build.compiling import LOCAL, compile_checked, linked, own_names, renamed
from lazybuild.build.deliver import check_outputs, check_pushes, deliver
from lazybuild.build.engine import Engine
from lazybuild.build.explain import explain
from lazybuild.build.finish import Built, finish, write_blob
from lazybuild.build.inputs import Inputs
from lazybuild.build.jobs import Job, Part, blame, located
from lazybuild.build.joint import Joint
from lazybuild.build.journal import Journals
from lazybuild.build.reading import Read, read_target
from lazybuild.build.ready import Ready
from lazybuild.build.resolver import ImageResolver
from lazybuild.build.space import Space
from lazybuild.build.stats import statistics
from lazybuild.build.veil import Veil
from lazybuild.build.workbench import Workbench
from lazybuild.dockerfile.options import Compiled
from lazybuild.errors import LazybuildError, ResourceError
from lazybuild.events import Sink, Warned
from lazybuild.exporters.attestation import Attestation
from lazybuild.oci import codec
from lazybuild.oci import platform as oci_platform
from lazybuild.oci.descriptor import OCI_INDEX
from lazybuild.request import BuildRequest, BuildResult, Target
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.snapshots.tree import EmptyTree, Tree
from lazybuild.solver.once import gather
from lazybuild.store import disk
from lazybuild.worker.services import NamespaceNeededError

T = TypeVar("T")
Told = Callable[[str, BuildResult], None]


def build(request: BuildRequest, sink: Sink) -> BuildResult:
    """Build what is asked for and deliver it. Raises LazybuildError."""
    found: dict[str, BuildResult] = {}
    build_all([Target(request=request)], sink, found.__setitem__)
    return found[""]


def build_all(targets: Sequence[Target], sink: Sink, done: Told) -> None:
    """Build the targets in one solve; `done` is told of each that was delivered, by name.

    What they have in common is built once, the rest in parallel. The first failure ends what is
    not finished, and is raised; a target that has all its files by then is delivered all the same.
    """
    with ExitStack() as stack:
        veiled = stack.enter_context(Veil([target.request for target in targets], sink))
        given = [
            replace(target, request=stack.enter_context(agents.ready(target.request)))
            for target in targets
        ]
        if given[0].request.builders:
            _elsewhere(given, veiled, done)
        else:
            _here(given, veiled, done)


def _elsewhere(targets: Sequence[Target], sink: Sink, done: Told) -> None:
    with extra.libraries("--builder"):
        from lazybuild.build import remotely  # noqa: PLC0415 - an extra
    remotely.build_all(targets, sink, done)


def _here(targets: Sequence[Target], sink: Sink, done: Told) -> None:
    started = time.monotonic()
    taken: dict[str, Path] = {}
    found = [read_target(target, sink, taken, _known) for target in targets]
    request = targets[0].request
    with open_space(request, sink) as space:
        try:
            with _explained(space):
                _build(space, found, taken, done, started)
        except ResourceError as error:
            if not room.make(space, error):
                raise
            space.stop.clear()
            with _explained(space):
                _build(space, found, taken, done, started)
        room.keep_within(space, request.keep_storage)


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


def _known(given: Inputs) -> None:
    """What is wrong with a Dockerfile is wrong with the step that reads it."""
    if given.frontend is None:
        _ = given.document


def open_space(request: BuildRequest, sink: Sink) -> Space:
    """The surroundings that a request asks for; to be used as a context manager."""
    return Space(
        root=request.root,
        config=request.registries,
        sink=sink,
        stop=request.stop,
        isolation=request.isolation,
    )


def _build(
    space: Space, found: Sequence[Read], taken: dict[str, Path], done: Told, started: float
) -> None:
    bench = Workbench(space, [read.target.request for read in found])
    journals = Journals(space, bench.lowers, [read.events for read in found], started)
    with journals, ExitStack() as stack:
        jobs = [_job(space, bench, read, stack, taken) for read in found]
        _enter_early(space, jobs)
        for job in jobs:
            with located(job):
                check_outputs(job.request)
                check_pushes(job.space, job.request)
        made: dict[str, Sequence[Compiled]] = {}
        for job, read in zip(jobs, found, strict=True):
            with located(job):
                job.given = linked(job.given, read.target.links, made)
                job.parts = [_compiled(job, name) for name in job.request.platforms or ("",)]
            made[job.name] = [part.compiled for part in job.parts]
        joint = Joint(space, bench, jobs)
        try:
            joint.solve()
        except ResourceError:
            raise  # there is no room for the others either
        except LazybuildError as error:
            blame(jobs, error)
            _rescue(space, bench, joint, done, journals)
            raise
        _complete(space, bench, joint, done, journals)


def _job(
    space: Space, bench: Workbench, read: Read, stack: ExitStack, taken: dict[str, Path]
) -> Job:
    """`stack` keeps what the target's sources are until they were read."""
    target, given, telling = read.target, read.given, space.telling(read.events)
    names: Mapping[str, str] = {}
    if given.frontend is not None:
        with extra.libraries(f"the frontend {given.frontend.image}"):
            from lazybuild.build import bridged  # noqa: PLC0415 - an extra
        given = stack.enter_context(bridged.granted(given))
        names = own_names(given.directories, taken)
    places = {**given.directories, **{own: given.directories[name] for name, own in names.items()}}
    return Job(
        name=target.name,
        request=target.request,
        given=given,
        events=read.events,
        space=telling,
        engine=Engine(telling, target.request, bench, places, events=read.events, name=target.name),
        names=names,
    )


def _enter_early(space: Space, jobs: Sequence[Job]) -> None:
    """A store that has seen no step can't answer for one: no pass outside is worth its time."""
    if any(job.given.frontend is not None for job in jobs):
        space.enter()  # it runs in any case
        return
    commands = any(node.keyword == "run" for job in jobs for node in job.given.document.nodes)
    cached = any(job.request.cache_from for job in jobs)
    if commands and not cached and not space.store.meta.has_records():
        space.enter()


def _compiled(job: Job, platform: str) -> Part:
    """The graph for one platform."""
    request = job.request
    if len(request.platforms) > 1:
        request = replace(request, platforms=(platform,))
    make = _by_frontend if job.given.frontend is not None else _by_us
    part = make(job, request)
    job.engine.date(part.compiled.epoch)
    for head in part.heads:
        platforms.require_runnable(head)
    return part


def _by_us(job: Job, request: BuildRequest) -> Part:
    several = len(job.request.platforms) > 1
    options = replace(translate.compile_options(request, job.given), multi_platform=several)
    root = job.given.directories.get(job.given.context.removeprefix(LOCAL))
    resolver = ImageResolver(job.engine.images, job.events, store=job.space.store, root=root)
    found = compile_checked(request, job.given, options, resolver, job.events)
    return Part(compiled=found)


def _by_frontend(job: Job, request: BuildRequest) -> Part:
    from lazybuild.build import bridged  # noqa: PLC0415 - it was found before

    found = bridged.build(job.space, request, job.given, job.engine, job.events)
    return replace(found, compiled=renamed(found.compiled, job.names))


# --- from files to images ------------------------------------------------------------------------


def _rescue(space: Space, bench: Workbench, joint: Joint, done: Told, journals: Journals) -> None:
    """Deliver what is finished though another target has failed."""
    try:
        _complete(space, bench, joint, done, journals)
    except LazybuildError as error:
        space.sink(Warned(message=f"target {error.target} was not delivered: {error.message}"))


def _complete(space: Space, bench: Workbench, joint: Joint, done: Told, journals: Journals) -> None:
    """Images are made one after the other, so that the order of what they share is always the
    same; they are delivered in parallel where threads may be started.
    """
    jobs = joint.done()
    images = []
    for job in jobs:
        with located(job):
            joint.keep(job)
            images.append([_image(job, part, joint.snapshot(job, part)) for part in job.parts])
    with bench.sharing():
        tasks = [
            partial(_deliver, job, built, done, journals)
            for job, built in zip(jobs, images, strict=True)
        ]
        gather(tasks, parallel=space.inside)


def _image(job: Job, part: Part, snapshot: Snapshot) -> Built:
    with task(job.events, "exporting to image"):
        notes = translate.annotations(job.request.annotations)
        return _inside(
            job.space, lambda: finish(job.space, job.engine, part.compiled, snapshot, notes)
        )


def _deliver(job: Job, images: Sequence[Built], done: Told, journals: Journals) -> None:
    space, engine = job.space, job.engine
    with located(job):
        with engine.caches.exporting(partial(write_blob, space, engine)):
            pairs = zip(job.parts, images, strict=True)
            delivered = deliver(space, job.request, [_ready(job, *pair) for pair in pairs])
        if job.request.cache_mounts_to:
            engine.cache_mounts.export(job.heads, engine.options)
        for solved in engine.caches.solved:
            explain(solved, space.store, job.request, job.events.cached, job.events)
    several = delivered.descriptor.media_type == OCI_INDEX
    result = BuildResult(
        digest=delivered.descriptor.digest,
        config_digest="" if several else images[0].manifest.config.digest,
        descriptor=json.loads(codec.encode(delivered.descriptor)),
        names=delivered.names,
        stats=statistics(space, engine, images, job.events, journals),
        platform=",".join(str(part.compiled.platform) for part in job.parts),
    )
    done(job.name, result)


def _ready(job: Job, part: Part, built: Built) -> Ready:
    space, compiled = job.space, part.compiled
    tree = _inside(space, lambda: _files(job.request, job.engine, built.snapshot))
    return Ready(
        built=built,
        platform=oci_platform.parse(str(compiled.platform)).as_json(),
        tree=tree,
        epoch=compiled.epoch,
        stated=_stated(job, part, built, tree),
    )


def _stated(job: Job, part: Part, built: Built, tree: Tree) -> Attestation | None:
    if not job.request.sbom and not job.request.provenance:
        return None
    from lazybuild.build.attest import attest  # noqa: PLC0415 - few builds need it

    return attest(job.space, job.request, part, built, tree)


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
