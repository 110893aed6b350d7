"""The composition root of `--builder`: the same inputs and the same compiler, another engine."""

import base64
import binascii
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from lazybuild.build import attest, lent, reorder, translate
from lazybuild.build.collect import Collector
from lazybuild.build.compiling import compile_checked, linked
from lazybuild.build.inputs import Inputs
from lazybuild.build.reading import Read, read_target
from lazybuild.build.run import open_space
from lazybuild.build.spread import Unasked, steps
from lazybuild.dockerfile.gateway import GatewayImages
from lazybuild.dockerfile.options import Compiled, Resolver
from lazybuild.errors import BuildError, HostError, LazybuildError, UsageError
from lazybuild.events import Noted, Sink, Warned, discard
from lazybuild.llb.ops import Platform
from lazybuild.oci import codec, reference
from lazybuild.registry import assembly
from lazybuild.remote import engine, exports
from lazybuild.remote.crew import Crew, Work
from lazybuild.remote.engine import Job
from lazybuild.remote.files import Directories
from lazybuild.request import (
    Builder,
    BuildRequest,
    BuildResult,
    BuildStats,
    Pull,
    Target,
)
from lazybuild.solver.once import gather
from lazybuild.wire import dial
from lazybuild.wire.contents import Contents
from lazybuild.wire.dial import Tls
from lazybuild.wire.encode import Text
from lazybuild.wire.session import Offers
from lazybuild.worker.secrets import given

Told = Callable[[str, BuildResult], None]
HUB = "docker.io"
HUB_HOSTS = frozenset({"registry-1.docker.io", "index.docker.io", "https://index.docker.io/v1/"})


def build_all(targets: Sequence[Target], sink: Sink, done: Told) -> None:
    """Build the targets on the builders of the request, each where it is done soonest.

    The first failure ends what is not finished. Raises LazybuildError.
    """
    taken: dict[str, Path] = {}
    for target in targets:
        _refuse(target.request)
    reads = {target.name: read_target(target, sink, taken, _known) for target in targets}
    request = targets[0].request
    crew = Crew(request.builders, sink)
    closures = [_closure(reads, name) for name in reads]
    works = [_work(request, closure) for closure in closures]
    tasks = [
        partial(_finish, crew, builder, work, closure, done)
        for builder, work, closure in zip(crew.spread(works), works, closures, strict=True)
    ]
    gather(tasks, parallel=True)


def _known(given: Inputs) -> None:
    given.require_dockerfile("--builder")


def _closure(reads: Mapping[str, Read], name: str) -> list[Read]:
    """A target and all that it is linked to, in the order in which they are compiled."""
    found: dict[str, Read] = {}
    for other in reads[name].target.links.values():
        found |= {read.target.name: read for read in _closure(reads, other)}
    return list((found | {name: reads[name]}).values())


def _work(request: BuildRequest, closure: Sequence[Read]) -> Work:
    """The steps of a target, as far as there is a choice of builders and they can be foreseen."""
    name = closure[-1].target.name
    made: dict[str, Sequence[Compiled]] = {}
    try:
        for read in closure if len(request.builders) > 1 else ():
            made[read.target.name] = _compiled(read, made, translate.here(), Unasked(), discard)
    except LazybuildError:
        return frozenset({name})  # what is wrong with it, its own build says
    return steps(made.get(name, ())) or frozenset({name})


def _finish(crew: Crew, builder: Builder, work: Work, closure: Sequence[Read], done: Told) -> None:
    read = closure[-1]
    try:
        done(read.target.name, _somewhere(crew, builder, work, closure))
    except LazybuildError as error:
        read.request.stop.set()
        error.source = error.source or read.given.source
        error.target = read.target.name
        raise


def _somewhere(crew: Crew, builder: Builder, work: Work, closure: Sequence[Read]) -> BuildResult:
    """On the builder, or on another one when it is away. What has gone to standard output can't be
    taken back.
    """
    read = closure[-1]
    streamed = any(output.dest == "-" for output in read.request.outputs)
    while True:
        if len(crew.builders) > 1:
            read.events(Noted(message=f"building on {builder.address}"))
        try:
            return _build(closure, builder)
        except HostError as error:
            if streamed or not crew.lost(builder, error):
                raise
        finally:
            crew.free(builder, work)
        builder = crew.take(work)


def _build(closure: Sequence[Read], builder: Builder) -> BuildResult:
    started, read = time.monotonic(), closure[-1]
    request, events = read.request, read.events
    address = dial.parse(builder.address)
    caches = lent.caches(request, events)
    theirs, ours = reorder.split(request.outputs)
    with (
        open_space(request, events) as space,
        space.store.scratch.directory("from-builder") as home,
    ):
        archive = home / "image.tar"
        plan = exports.plan(
            [*theirs, *([reorder.fetched(archive)] if ours else [])],
            [str(reference.parse(tag)) for tag in request.tags],
            _attrs(request),
            inside_docker=address.kind == "docker",
        )
        images = lent.images(space.store, [read.given for read in closure])
        job = Job(
            address=address,
            tls=Tls(
                ca=builder.ca, cert=builder.cert, key=builder.key, server_name=builder.server_name
            ),
            offers=_offers(closure, plan, {**images, **caches.contents}),
            exports=plan.exports,
            cache_imports=caches.imports,
            cache_exports=caches.exports,
            entitlements=request.allow,
            pull=request.pull is Pull.ALWAYS,
            attrs=_attested(request),
            states=partial(attest.packages_of, request, events) if request.sbom else None,
            stop=request.stop,
        )
        made: list[Compiled] = []
        said = engine.build(job, _compiler(closure, made), events)
        result = _result(request, builder, said, events, started)
        if request.sbom or request.provenance:
            exports.require_stated(plan, result.descriptor, builder.address)
        if ours:
            delivered = reorder.hand_out(space, request, ours, archive, made)
            result = replace(
                result,
                digest=delivered.descriptor.digest,
                descriptor=json.loads(codec.encode(delivered.descriptor)),
            )
    caches.finish(said)
    return result


def _refuse(request: BuildRequest) -> None:
    """What only the local engine does is refused, not left out without a word."""
    given = {
        "--require-lazy": request.require_lazy,
        "--allow-unverified": request.allow_unverified,
        "--convert-base": request.convert_base,
        "--pull=never": request.pull is Pull.NEVER,
        "--cache-mounts-from": bool(request.cache_mounts_from),
        "--cache-mounts-to": bool(request.cache_mounts_to),
        "--profile-from": bool(request.profile_from),
        "--profile-to": bool(request.profile_to),
        "--explain": request.explain,
        "--on-failure": request.on_failure is not None,
    }
    for flag, used in given.items():
        if used:
            raise UsageError(f"{flag} does not work with --builder")


def _compiler(closure: Sequence[Read], kept: list[Compiled]) -> engine.Compile:
    """`kept` gets what the target is made of."""

    def compile_(
        here: Platform, images: GatewayImages
    ) -> tuple[Sequence[Text], Sequence[Compiled]]:
        made: dict[str, Sequence[Compiled]] = {}
        for read in closure:
            sink = read.events if read is closure[-1] else discard  # its own build warns of it
            made[read.target.name] = _compiled(read, made, here, images, sink)
        kept[:] = made[closure[-1].target.name]
        return [_text(read) for read in closure], kept

    return compile_


def _compiled(
    read: Read,
    made: Mapping[str, Sequence[Compiled]],
    here: Platform,
    images: Resolver,
    sink: Sink,
) -> Sequence[Compiled]:
    request, given = read.request, linked(read.given, read.target.links, made)
    found = []
    for name in request.platforms or ("",):
        one = replace(request, platforms=(name,) if name else ())
        options = replace(
            translate.compile_options(one, given),
            build_platform=here,
            multi_platform=len(request.platforms) > 1,
        )
        found.append(compile_checked(request, given, options, images, sink))
    return found


def _text(read: Read) -> Text:
    document = read.given.document
    return Text(path=document.path, data=document.source.encode("utf-8", "surrogateescape"))


def _attrs(request: BuildRequest) -> Mapping[str, str]:
    """What all image exporters are told."""
    found = {}
    if request.compression:
        kind, level = translate.compression(request.compression)
        names = {"none": "uncompressed", "zstd:chunked": "zstd"}
        found["compression"] = names.get(kind.value, kind.value)
        if level is not None:
            found["compression-level"] = str(level)
    if request.epoch is not None:
        found["source-date-epoch"] = str(request.epoch)
        if request.rewrite_timestamp is not False:
            found["rewrite-timestamp"] = "true"
    for name, value in translate.annotations(request.annotations).items():
        found[f"annotation.{name}"] = value
    return found


def _attested(request: BuildRequest) -> Mapping[str, str]:
    """Where an image comes from is stated by who builds it."""
    if not request.provenance:
        return {}
    return {"attest:provenance": f"mode={request.provenance},version=v1"}


def _offers(
    closure: Sequence[Read], plan: exports.Plan, contents: Mapping[str, Contents]
) -> Offers:
    request, sink = closure[-1].request, closure[-1].events
    known = assembly.find_credentials(request.registries, lambda text: sink(Warned(message=text)))
    secrets = {secret.id: secret for read in closure for secret in read.request.secrets}
    agents = {agent.id: agent for read in closure for agent in read.request.ssh}
    places = {name: path for read in closure for name, path in read.given.directories.items()}

    def credential(host: str) -> tuple[str, str]:
        found = known.find(HUB if host in HUB_HOSTS else host, "")
        if found is None:
            return "", ""
        return (
            ("", found.identity_token) if found.identity_token else (found.username, found.password)
        )

    def secret(name: str) -> bytes | None:
        return given(secrets[name]) if name in secrets else None

    def agent(name: str) -> Path | None:
        return Path(agents[name].socket) if name in agents and agents[name].socket else None

    return Offers(
        directory=Directories(places),
        outputs=plan.streams,
        credential=credential,
        secret=secret,
        agent=agent,
        contents=contents,
    )


def _result(
    request: BuildRequest,
    builder: Builder,
    said: Mapping[str, str],
    events: Collector,
    started: float,
) -> BuildResult:
    digest = said.get("containerimage.digest", "")
    return BuildResult(
        digest=digest,
        config_digest=said.get("containerimage.config.digest", ""),
        descriptor=_descriptor(said.get("containerimage.descriptor", "")),
        names=tuple(reference.parse(tag).familiar for tag in request.tags),
        stats=BuildStats(
            tier=builder.address,
            wall_seconds=round(time.monotonic() - started, 3),
            steps=events.steps(),
        ),
        platform=",".join(request.platforms),
    )


def _descriptor(text: str) -> Mapping[str, object]:
    """The daemon gives it as JSON in base64, or not at all."""
    try:
        found = json.loads(base64.b64decode(text)) if text else {}
    except (ValueError, binascii.Error) as error:
        raise BuildError("BuildKit gave a descriptor that can't be read") from error
    return found if isinstance(found, dict) else {}
