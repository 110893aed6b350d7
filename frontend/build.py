"""One build as a frontend, a list of steps: ask, load, compile, solve, hand back. Returns once."""

import json
import sys
import traceback
from collections.abc import Mapping
from functools import partial

from frontend.arrange import Arranger
from frontend.options import Options
from frontend.sources import Loader, Sources
from lazybuild.dockerfile import checks
from lazybuild.dockerfile.compile import compile as compile_document
from lazybuild.dockerfile.compile import compile_each
from lazybuild.dockerfile.gateway import GatewayImages
from lazybuild.dockerfile.nodes import Finding
from lazybuild.dockerfile.options import Compiled, CompileOptions
from lazybuild.dockerfile.rules import RULES
from lazybuild.errors import BuildError, DockerfileError, LazybuildError, Span
from lazybuild.llb.ops import Platform
from lazybuild.oci import codec
from lazybuild.wire import faults
from lazybuild.wire.encode import encode
from lazybuild.wire.faults import Json, Place
from lazybuild.wire.gateway import Gateway, Lookup, Outcome

ENTITLEMENTS = frozenset({"security.insecure", "network.host"})
"""The daemon knows what the client grants, and refuses the rest when it is solved."""

NO_SBOM = "this frontend makes no SBOM: the image will have none"
FIRST_LINE = Span(path="Dockerfile", line=1, end_line=1)
CONFIG = "containerimage.config"
PLATFORMS = "refs.platforms"
EPOCH = "source.date.epoch"


class UnsupportedError(LazybuildError):
    """The client asks for something that this frontend has not got; `detail` names it."""

    def __init__(self, message: str, detail: Mapping[str, Json]) -> None:
        super().__init__(message)
        self.detail = detail


def serve(gateway: Gateway, options: Options) -> int:
    """Do what is asked for and hand back a result or the reason why there is none. The gateway has
    been pinged.
    """
    try:
        outcome = answer(gateway, options)
    except UnsupportedError as error:
        gateway.fail(faults.status(error.message, code=faults.UNIMPLEMENTED, details=error.detail))
    except LazybuildError as error:
        gateway.fail(faults.status_of(error, _place(error)))
    except Exception as error:  # noqa: BLE001 - a bug must reach the user, not only the daemon's log
        traceback.print_exc(file=sys.stderr)
        gateway.fail(faults.status(f"bug in the frontend: {type(error).__name__}: {error}"))
    else:
        gateway.give(outcome)
        return 0
    return 1


def _place(error: LazybuildError) -> Place | None:
    if isinstance(error, DockerfileError | BuildError) and error.span and error.source:
        return Place(span=error.span, data=error.source.encode("utf-8", "surrogateescape"))
    return None


def answer(gateway: Gateway, options: Options) -> Outcome:
    """The result of the build, or of the question about it."""
    _refuse(options)
    if asked := options.text("requestid"):
        return Outcome(metadata=_reply(gateway, options, asked))
    loader = Loader(gateway, options)
    sources = loader.load()
    resolver = _resolver(gateway, options)
    given = compile_options(gateway, options, sources)
    try:
        made = _compile(sources, given, options, resolver)
        _warn(gateway, sources, given, made)
        if "attest:sbom" in options.values:
            _say(gateway, sources, NO_SBOM)
        made = Arranger(
            gateway=gateway,
            options=options,
            style=loader.style((sources.text,)),
            warn=lambda line: _say(gateway, sources, line),
        ).arrange(made)
    except (BuildError, DockerfileError) as error:
        error.source = error.source or sources.document.source
        raise
    return _solve(gateway, options, loader, sources, made)


def _reply(gateway: Gateway, options: Options, asked: str) -> Mapping[str, bytes]:
    from frontend import subrequests  # noqa: PLC0415 - no build needs it

    if asked == subrequests.DESCRIBE:
        return subrequests.describe()
    if asked not in subrequests.KNOWN:
        detail: Json = {"name": asked}
        raise UnsupportedError(f"unsupported request {asked}", {"errdefs.Subrequest": detail})
    loader = Loader(gateway, options)
    sources = loader.load()
    reply, _, _ = subrequests.KNOWN[asked]
    return reply(
        subrequests.Question(
            document=sources.document,
            options=compile_options(gateway, options, sources),
            resolver=_resolver(gateway, options),
            style=loader.style((sources.text,)),
        )
    )


def _resolver(gateway: Gateway, options: Options) -> GatewayImages:
    lookup = Lookup(mode=options.resolve_mode, session=options.session)
    return GatewayImages(partial(gateway.resolve_image, lookup=lookup))


def _refuse(options: Options) -> None:
    options.check()
    for name in options.unknown_capabilities():
        detail: Json = {"name": name}
        raise UnsupportedError(
            f"unsupported frontend capability {name}", {"errdefs.FrontendCap": detail}
        )


def compile_options(gateway: Gateway, options: Options, sources: Sources) -> CompileOptions:
    own = [platform for worker in gateway.offer.workers for platform in worker.platforms]
    here, *others = own or [Platform(os="linux", architecture="amd64")]
    return CompileOptions(
        build_platform=here,
        platform=options.platforms[0] if options.platforms else None,
        other_platforms=tuple(others),
        multi_platform=options.multi_platform,
        build_args=options.build_args,
        target=options.text("target"),
        labels=options.below("label:"),
        no_cache=options.no_cache,
        network=options.network,
        add_hosts=options.add_hosts,
        shm_size=options.shm_size,
        ulimits=options.ulimits,
        hostname=options.text("hostname"),
        cgroup_parent=options.text("cgroup-parent"),
        context=sources.context,
        origin=sources.origin,
        contexts=sources.contexts,
        inputs=sources.inputs,
        ignored=sources.ignored,
        ignored_in=sources.ignored_in,
        allow=ENTITLEMENTS,
        source_time=gateway.source_time,
    )


def _compile(
    sources: Sources, given: CompileOptions, options: Options, resolver: GatewayImages
) -> tuple[Compiled, ...]:
    """One result for each platform; where none is asked for, the base image's own decides."""
    if not options.platforms:
        return (compile_document(sources.document, given, resolver),)
    return compile_each(sources.document, given, options.platforms, resolver)


def _warn(
    gateway: Gateway, sources: Sources, given: CompileOptions, made: tuple[Compiled, ...]
) -> None:
    found = checks.findings(sources.document, given, made[0])
    for finding in found:
        _warn_one(gateway, sources, finding)
    broken = checks.violation(found, checks.choice_of(sources.document, given.build_args))
    if broken is not None:
        raise broken


def _say(gateway: Gateway, sources: Sources, line: str) -> None:
    _warn_one(gateway, sources, Finding(rule="", message=line, span=FIRST_LINE))


def _warn_one(gateway: Gateway, sources: Sources, finding: Finding) -> None:
    """In the form of the reference, on the vertex that the Dockerfile was loaded by."""
    rule = RULES.get(finding.rule)
    line = f"{finding.rule}: {finding.message} (line {finding.span.line})"
    gateway.warn(
        sources.loaded,
        line if rule else finding.message,
        url=rule.url if rule else "",
        detail=rule.description if rule else "",
        place=Place(span=finding.span, data=sources.text.data),
    )


def _solve(
    gateway: Gateway,
    options: Options,
    loader: Loader,
    sources: Sources,
    made: tuple[Compiled, ...],
) -> Outcome:
    refs, metadata = {}, {}
    style = loader.style((sources.text,))
    for result in made:
        name = str(result.platform) if options.multi_platform else ""
        ending = f"/{name}" if name else ""
        refs[name] = gateway.solve(encode(result.head, style), options.cache_imports)
        metadata[CONFIG + ending] = codec.encode(result.config)
        if result.base is not None:
            metadata["containerimage.base.config" + ending] = codec.encode(result.base.config)
        if result.epoch is not None:
            metadata[EPOCH + ending] = str(result.epoch).encode()
    metadata[PLATFORMS] = _platforms(made)
    return Outcome(refs=refs, metadata=metadata)


def _platforms(made: tuple[Compiled, ...]) -> bytes:
    listed = [{"ID": str(each.platform), "Platform": _platform(each.platform)} for each in made]
    return json.dumps({"Platforms": listed}, separators=(",", ":")).encode()


def _platform(platform: Platform) -> dict[str, str]:
    found = {"architecture": platform.architecture, "os": platform.os}
    if platform.os_version:
        found["os.version"] = platform.os_version
    return found | ({"variant": platform.variant} if platform.variant else {})
