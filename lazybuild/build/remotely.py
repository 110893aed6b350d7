"""The composition root of `--builder`: the same inputs and the same compiler, another engine."""

import base64
import binascii
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lazybuild.build import inputs, translate
from lazybuild.build.collect import Collector, task
from lazybuild.build.inputs import Inputs
from lazybuild.dockerfile import checks, platforms
from lazybuild.dockerfile.compile import compile as compile_document
from lazybuild.dockerfile.compile import compile_each
from lazybuild.dockerfile.options import Compiled
from lazybuild.errors import BuildError, LazybuildError, UsageError
from lazybuild.events import Sink, Warned
from lazybuild.llb.ops import Platform
from lazybuild.oci import platform as oci
from lazybuild.oci import reference
from lazybuild.registry import assembly
from lazybuild.remote import engine, exports
from lazybuild.remote.engine import GatewayImages, Job
from lazybuild.remote.files import Directories
from lazybuild.request import (
    Builder,
    BuildRequest,
    BuildResult,
    BuildStats,
    CacheSpec,
    Pull,
    Secret,
)
from lazybuild.wire import dial
from lazybuild.wire.dial import Tls
from lazybuild.wire.encode import Text
from lazybuild.wire.session import Offers

MAX_SECRET = 500 << 10
HUB = "docker.io"
HUB_HOSTS = frozenset({"registry-1.docker.io", "index.docker.io", "https://index.docker.io/v1/"})


def build(request: BuildRequest, builder: Builder, sink: Sink) -> BuildResult:
    """Build what is asked for on a BuildKit. Raises LazybuildError."""
    started = time.monotonic()
    events = Collector(sink)
    _refuse(request)
    with task(events, "[internal] load build definition"):
        given = inputs.read(request)
        given.require_dockerfile("--builder")
    address = dial.parse(builder.address)
    plan = exports.plan(
        request.outputs,
        [str(reference.parse(tag)) for tag in request.tags],
        _attrs(request),
        inside_docker=address.kind == "docker",
    )
    job = Job(
        address=address,
        tls=Tls(ca=builder.ca, cert=builder.cert, key=builder.key, server_name=builder.server_name),
        offers=_offers(request, given, plan, events),
        exports=plan.exports,
        cache_imports=tuple(_cache(spec, "src") for spec in request.cache_from),
        cache_exports=tuple(_cache(spec, "dest") for spec in request.cache_to),
        entitlements=request.allow,
        pull=request.pull is Pull.ALWAYS,
    )
    try:
        said = engine.build(job, _compiler(request, given, events), events)
    except LazybuildError as error:
        error.source = error.source or given.source
        raise
    return _result(request, builder, said, events, started)


def _refuse(request: BuildRequest) -> None:
    """What only the local engine does is refused, not left out without a word."""
    given = {
        "--require-lazy": request.require_lazy,
        "--allow-unverified": request.allow_unverified,
        "--convert-base": request.convert_base,
        "--pull=never": request.pull is Pull.NEVER,
        "--sbom": request.sbom,
        "--provenance": bool(request.provenance),
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


def _compiler(request: BuildRequest, given: Inputs, sink: Sink) -> engine.Compile:
    def compile_(here: Platform, images: GatewayImages) -> tuple[Text, Sequence[Compiled]]:
        wanted = tuple(platforms.from_oci(oci.parse(name)) for name in request.platforms)
        options = replace(
            translate.compile_options(replace(request, platforms=()), given), build_platform=here
        )
        if wanted:
            made = compile_each(given.document, options, wanted, images)
        else:
            made = (compile_document(given.document, options, images),)
        found = checks.findings(given.document, options, made[0])
        for finding in found:
            sink(translate.warning(finding))
        broken = checks.violation(found, checks.choice_of(given.document, request.build_args))
        if broken is not None:
            raise broken
        data = given.document.source.encode("utf-8", "surrogateescape")
        return Text(path=given.document.path, data=data), made

    return compile_


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


def _cache(spec: CacheSpec, place: str) -> tuple[str, Mapping[str, str]]:
    if spec.type == "local":
        raise UsageError(f"a cache of type=local ({place}) does not work with --builder")
    attrs = {"mode": spec.mode}
    return spec.type, attrs | ({"ref": spec.place} if spec.place else {})


def _offers(request: BuildRequest, given: Inputs, plan: exports.Plan, sink: Sink) -> Offers:
    known = assembly.find_credentials(request.registries, lambda text: sink(Warned(message=text)))
    secrets = {secret.id: secret for secret in request.secrets}
    agents = {agent.id: agent for agent in request.ssh}

    def credential(host: str) -> tuple[str, str]:
        found = known.find(HUB if host in HUB_HOSTS else host, "")
        if found is None:
            return "", ""
        return (
            ("", found.identity_token) if found.identity_token else (found.username, found.password)
        )

    def secret(name: str) -> bytes | None:
        return _secret(secrets[name]) if name in secrets else None

    def agent(name: str) -> Path | None:
        return Path(agents[name].socket) if name in agents and agents[name].socket else None

    return Offers(
        directory=Directories(given.directories),
        outputs=plan.streams,
        credential=credential,
        secret=secret,
        agent=agent,
    )


def _secret(secret: Secret) -> bytes:
    if secret.env:
        value = os.environb.get(os.fsencode(secret.env))
        if value is None:
            raise BuildError(f"secret {secret.id}: the variable {secret.env} is not set")
        return value
    return inputs.read_regular(Path(secret.file), MAX_SECRET)


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
        config_digest=said.get("containerimage.config.digest", digest),
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
