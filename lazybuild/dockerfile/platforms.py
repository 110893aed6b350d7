"""Platforms between the two rooms that have them, and how step names show them. Pure."""

from collections.abc import Mapping

from lazybuild.errors import DockerfileError, Span, UsageError
from lazybuild.llb.ops import Platform
from lazybuild.oci import platform as oci
from lazybuild.oci.image import ImageConfig


def parse(text: str, span: Span) -> Platform:
    """A platform as it stands in a FROM."""
    try:
        return from_oci(oci.parse(text))
    except UsageError as error:
        raise DockerfileError(
            f"failed to parse platform {text}: {error.message}", span=span, hint=error.hint
        ) from error


def from_oci(platform: oci.Platform) -> Platform:
    return Platform(
        os=platform.os,
        architecture=platform.architecture,
        variant=platform.variant,
        os_version=platform.os_version,
        os_features=platform.os_features,
    )


def of_config(config: ImageConfig) -> Platform:
    """The platform that an image says it is for, normalised."""
    return from_oci(
        oci.normalise(
            os=config.os,
            architecture=config.architecture,
            variant=config.variant,
            os_version=config.os_version,
            os_features=config.os_features,
        )
    )


def with_version(platform: Platform) -> str:
    """Like `str(platform)`, with the version of the system where there is one."""
    if not platform.os_version:
        return str(platform)
    rest = str(platform)[len(platform.os) :]
    return f"{platform.os}({platform.os_version}){rest}"


def label(platform: Platform, env: Mapping[str, str]) -> str:
    """How a step of a build for several platforms is marked: `linux/amd64->arm64`."""
    return with_version(platform) + _towards(platform, _target(env))


def _target(env: Mapping[str, str]) -> oci.Platform | None:
    """The platform that TARGET* variables of a stage speak of, when it declares any."""
    if whole := env.get("TARGETPLATFORM"):
        try:
            return oci.parse(whole)
        except UsageError:
            return None
    names = ("TARGETOS", "TARGETARCH", "TARGETVARIANT")
    if not any(name in env for name in names):
        return None
    system, arch, variant = (env.get(name, "") for name in names)
    return oci.Platform(os=system, architecture=arch, variant=variant)


def _towards(base: Platform, target: oci.Platform | None) -> str:
    if target is None:
        return ""
    aim = oci.normalise(
        os=target.os or base.os,
        architecture=target.architecture or base.architecture,
        variant=target.variant,
    )
    if aim.os != base.os:
        return f"->{aim}"
    if aim.architecture == base.architecture:
        return ""
    return "->" + "/".join(part for part in (aim.architecture, aim.variant) if part)
