"""A request in the words of the rooms that carry it out."""

from lazybuild.build.inputs import Inputs
from lazybuild.build.remotes import source_time
from lazybuild.dockerfile.contexts import EPOCH
from lazybuild.dockerfile.nodes import Finding
from lazybuild.dockerfile.options import MAIN_CONTEXT, CompileOptions
from lazybuild.dockerfile.platforms import from_oci
from lazybuild.dockerfile.rules import RULES
from lazybuild.errors import UsageError
from lazybuild.estargz.writer import Compression, WriterOptions
from lazybuild.events import Warned
from lazybuild.llb.ops import NetworkMode, Platform, Ulimit
from lazybuild.oci import platform
from lazybuild.oci.image import ContainerConfig
from lazybuild.request import ALL_STAGES, BuildRequest
from lazybuild.snapshots.closure import Start


def compile_options(request: BuildRequest, given: Inputs) -> CompileOptions:
    return CompileOptions(
        build_platform=here(),
        platform=target_platform(request),
        build_args=request.build_args,
        target=request.target,
        labels=request.labels,
        no_cache=no_cache(request),
        network=network(request.network),
        add_hosts=tuple(add_host(text) for text in request.add_hosts),
        shm_size=request.shm_size,
        ulimits=tuple(ulimit(text) for text in request.ulimits),
        epoch=epoch(request, given),
        source_time=source_time(request),
        context=given.context,
        contexts=given.contexts,
        inputs=given.inputs,
        ignored=given.ignored,
        ignored_in=given.ignored_in,
        allow=frozenset(request.allow),
    )


def epoch(request: BuildRequest, given: Inputs) -> int | None:
    """As a number; where it is to come from a source, the compiler finds out which."""
    if request.build_args.get(EPOCH) == MAIN_CONTEXT and given.time is not None:
        return given.time
    return request.epoch


def here() -> Platform:
    return from_oci(platform.host())


def target_platform(request: BuildRequest) -> Platform | None:
    if len(request.platforms) > 1:
        raise UsageError("several platforms in one build are not supported yet")
    return from_oci(platform.parse(request.platforms[0])) if request.platforms else None


def no_cache(request: BuildRequest) -> frozenset[str] | None:
    if not request.no_cache:
        return None
    return frozenset() if request.no_cache == ALL_STAGES else frozenset(request.no_cache)


def network(text: str) -> NetworkMode:
    try:
        return NetworkMode(text or "default")
    except ValueError as error:
        raise UsageError(
            f"--network {text}: not a network", hint="default, host and none are there"
        ) from error


def add_host(text: str) -> tuple[str, str]:
    """`HOST:IP` or `HOST=IP`, an IPv6 address with or without brackets."""
    mark = min((text.find(sign) for sign in "=:" if sign in text), default=-1)
    host, address = text[:mark].strip(), text[mark + 1 :].strip().strip("[]")
    if mark < 0 or not host or not address:
        raise UsageError(f"--add-host {text!r}: expected HOST:IP")
    return host, address


def ulimit(text: str) -> Ulimit:
    name, _, values = text.partition("=")
    soft, _, hard = values.partition(":")
    try:
        return Ulimit(name=name, soft=int(soft), hard=int(hard or soft))
    except ValueError as error:
        raise UsageError(f"--ulimit {text!r}: expected NAME=SOFT[:HARD]") from error


def writer_options(request: BuildRequest) -> WriterOptions:
    """With an epoch the times of files are clamped too, unless that is switched off."""
    clamped = request.rewrite_timestamp is not False
    kind, level = compression(request.compression)
    if request.convert_base and not kind.lazy:
        raise UsageError(f"--convert-base makes layers lazy, and {kind} ones can't be")
    return WriterOptions(
        compression=kind,
        level=level,
        epoch=request.epoch if clamped else None,
        prefetch=request.prefetch,
    )


def start_of(config: ContainerConfig) -> Start:
    argv = (*(config.entrypoint or ()), *(config.cmd or ()))
    return Start(argv=argv, env=config.env, cwd=config.working_dir or "/")


def compression(text: str) -> tuple[Compression, int | None]:
    """`estargz`, `gzip:9`, `zstd:chunked:3`: a format and, after a colon, a level."""
    name, _, level = text.rpartition(":")
    if not name or not level.isdecimal():
        name, level = text, ""
    try:
        return Compression(name or "estargz"), int(level) if level else None
    except ValueError as error:
        known = ", ".join(item.value for item in Compression)
        raise UsageError(f"--compression {text}: not a format", hint=f"one of {known}") from error


def annotations(texts: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE` or `manifest:NAME=VALUE`; other places have no annotations of their own here."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        place, colon, rest = name.partition(":")
        if colon and place in ("manifest", "index", "manifest-descriptor", "index-descriptor"):
            if place != "manifest":
                raise UsageError(f"--annotation {text}: {place} annotations are not supported yet")
            name = rest
        if not equals or not name:
            raise UsageError(f"--annotation {text!r}: expected NAME=VALUE")
        found[name] = value
    return found


def warning(finding: Finding) -> Warned:
    span = finding.span
    rule = RULES.get(finding.rule)
    return Warned(
        message=f"{finding.rule}: {finding.message} (line {span.line})",
        url=rule.url if rule else "",
        path=span.path,
        line=span.line,
    )
