"""Global arguments: what exists before the first FROM, and what SOURCE_DATE_EPOCH says. Pure."""

from collections.abc import Iterable, Mapping

from lazybuild.dockerfile.instructions import Arg
from lazybuild.dockerfile.options import CompileOptions
from lazybuild.dockerfile.platforms import with_version
from lazybuild.dockerfile.words import Words, placed

SCAN_CONTEXT = "BUILDKIT_SBOM_SCAN_CONTEXT"
SCAN_STAGE = "BUILDKIT_SBOM_SCAN_STAGE"
NOT_IN_STEPS = frozenset({SCAN_CONTEXT, SCAN_STAGE})


def predefined(options: CompileOptions, target: str) -> dict[str, str]:
    """BUILD*, TARGET* and TARGETSTAGE; a `--build-arg` of the same name wins."""
    build = options.build_platform
    aim = options.platform or build
    values = {
        "BUILDPLATFORM": str(build),
        "BUILDOS": build.os,
        "BUILDOSVERSION": build.os_version,
        "BUILDARCH": build.architecture,
        "BUILDVARIANT": build.variant,
        "TARGETPLATFORM": with_version(aim),
        "TARGETOS": aim.os,
        "TARGETOSVERSION": aim.os_version,
        "TARGETARCH": aim.architecture,
        "TARGETVARIANT": aim.variant,
        "TARGETSTAGE": target or "default",
    }
    return {name: options.build_args.get(name, value) for name, value in values.items()}


def global_scope(
    start: Mapping[str, str],
    arguments: Iterable[Arg],
    build_args: Mapping[str, str],
    words: Words,
) -> dict[str, str]:
    """The scope that FROM lines see: each ARG may use what stands before it."""
    scope = dict(start)
    for instruction in arguments:
        for item in instruction.items:
            if item.name in build_args:
                scope[item.name] = build_args[item.name]
            elif item.default is not None:
                with placed(instruction.span):
                    scope[item.name] = words.expand(item.default, scope)
    return scope
