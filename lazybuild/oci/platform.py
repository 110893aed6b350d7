"""Platforms by containerd's rules (containerd/platforms: normalise, parse, compare). Pure but for
`host`, which asks the kernel's name for this machine.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lazybuild.errors import UsageError
from lazybuild.oci.descriptor import Descriptor

_PART = re.compile(r"[A-Za-z0-9_.-]+\Z")
_ARCHES = {
    "i386": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv8l": ("arm", "v8"),
    "i686": ("386", ""),
}
_KNOWN_OS = frozenset(
    {"darwin", "dragonfly", "freebsd", "linux", "netbsd", "openbsd", "solaris", "windows"}
)
_KNOWN_ARCHES = frozenset(
    {"386", "amd64", "arm", "arm64", "loong64", "mips", "mipsle", "mips64", "mips64le"}
    | {"ppc64", "ppc64le", "riscv64", "s390x", "wasm"}
)
_OLDER = {
    ("arm", "v8"): ("v7", "v6", "v5"),
    ("arm", "v7"): ("v6", "v5"),
    ("arm", "v6"): ("v5",),
    ("amd64", "v4"): ("v3", "v2", ""),
    ("amd64", "v3"): ("v2", ""),
    ("amd64", "v2"): ("",),
}
_NARROWER = {"amd64": ("386", ("",)), "arm64": ("arm", ("v8", "v7", "v6", "v5"))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A normalised platform."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def as_json(self) -> Mapping[str, object]:
        """What stands in `Descriptor.platform`, in Go's field order."""
        fields: dict[str, object] = {"architecture": self.architecture, "os": self.os}
        if self.os_version:
            fields["os.version"] = self.os_version
        if self.os_features:
            fields["os.features"] = list(self.os_features)
        return fields | ({"variant": self.variant} if self.variant else {})


def parse(text: str) -> Platform:
    """Read `os[/arch[/variant]]` or an architecture alone. Raises UsageError."""
    parts = text.strip().split("/")
    if not all(_PART.match(part) for part in parts):
        raise UsageError(f"{text[:80]!r} is not a platform", hint="write it like linux/amd64")
    match parts:
        case [only]:
            return _parse_one(only)
        case [system, arch]:
            return normalise(os=system, architecture=arch)
        case [system, arch, variant]:
            return normalise(os=system, architecture=arch, variant=variant)
    raise UsageError(f"{text[:80]!r} is not a platform", hint="write it like linux/amd64")


def _parse_one(text: str) -> Platform:
    guess = normalise(os=text, architecture="")
    if guess.os in _KNOWN_OS:
        here = host()
        return Platform(os=guess.os, architecture=here.architecture, variant=here.variant)
    platform = normalise(os=host().os, architecture=text)
    if platform.architecture in _KNOWN_ARCHES:
        return platform
    raise UsageError(f"{text[:80]!r} is neither a system nor an architecture")


def normalise(
    *,
    os: str,
    architecture: str,
    variant: str = "",
    os_version: str = "",
    os_features: tuple[str, ...] = (),
) -> Platform:
    system = os.lower()
    arch, implied = _ARCHES.get(architecture.lower(), (architecture.lower(), ""))
    return Platform(
        os="darwin" if system == "macos" else system,
        architecture=arch,
        variant=_variant(arch, implied or variant.lower()),
        os_version=os_version,
        os_features=os_features,
    )


def _variant(arch: str, variant: str) -> str:
    if arch == "amd64":
        return "" if variant == "v1" else variant
    if arch == "arm64":
        return "" if variant in ("8", "v8") else variant
    if arch == "arm":
        return f"v{variant}" if variant in ("5", "6", "7", "8") else variant or "v7"
    return variant


def host() -> Platform:
    return normalise(os=os.uname().sysname, architecture=os.uname().machine)


def from_json(fields: Mapping[str, object]) -> Platform:
    """Read `Descriptor.platform`; what is not text counts as not said."""

    def text(key: str) -> str:
        value = fields.get(key, "")
        return value if isinstance(value, str) else ""

    features = fields.get("os.features")
    names = features if isinstance(features, list) else []
    return normalise(
        os=text("os"),
        architecture=text("architecture"),
        variant=text("variant"),
        os_version=text("os.version"),
        os_features=tuple(name for name in names if isinstance(name, str)),
    )


def accepted(want: Platform) -> tuple[tuple[str, str, str], ...]:
    """What can run where `want` is asked for, best first: (os, architecture, variant)."""
    found = [(want.architecture, want.variant)]
    older = _OLDER.get((want.architecture, want.variant), ())
    found += [(want.architecture, variant) for variant in older]
    narrower, variants = _NARROWER.get(want.architecture, ("", ()))
    found += [(narrower, variant) for variant in variants]
    return tuple((want.os, arch, variant) for arch, variant in found)


def matches(have: Platform, want: Platform) -> bool:
    """Whether an image for `have` may be used where `want` is asked for."""
    return (have.os, have.architecture, have.variant) in accepted(want)


def choose(descriptors: Iterable[Descriptor], want: Platform) -> Descriptor | None:
    """The manifest of an index that fits `want` best; the first of equals, as the field does."""
    ranks = {key: rank for rank, key in enumerate(accepted(want))}
    best: tuple[int, Descriptor] | None = None
    for descriptor in descriptors:
        have = from_json(descriptor.platform or {})
        rank = ranks.get((have.os, have.architecture, have.variant))
        if rank is not None and (best is None or rank < best[0]):
            best = (rank, descriptor)
    return best[1] if best else None
