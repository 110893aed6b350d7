"""Named contexts (`--build-context name=value`): which one a name means. Pure."""

from dataclasses import dataclass

from lazybuild.dockerfile.options import CompileOptions
from lazybuild.errors import UsageError
from lazybuild.llb.ops import Platform
from lazybuild.oci import reference

_NEVER = frozenset({"scratch", "context"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A context that was asked for: the key it was found under, and its source."""

    key: str
    value: str


def lookup(options: CompileOptions, name: str, platform: Platform | None) -> Named | None:
    """The context for `name`; one for the platform wins over one for all."""
    if not options.contexts or name.lower() in _NEVER:
        return None
    try:
        familiar = reference.parse(name).familiar.removesuffix(":latest")
    except UsageError:
        familiar = name
    aim = platform or options.platform or options.build_platform
    for key in (f"{familiar}::{aim}", familiar):
        if key in options.contexts:
            return Named(key=key, value=options.contexts[key])
    return None
