"""The habits of other builders' command lines, so that their scripts work as they are.

Flags with an optional value (`--pull`, `--pull=never`) and booleans with one (`--load=true`) are
Go's pflag; what has no meaning here is taken with one warning; what would be missed if it were
ignored is refused unless it is switched off. Sources: docker buildx build --help, buildah-build(1).
"""

from collections.abc import Callable, Mapping
from typing import Any

import click

from lazybuild.errors import UsageError

TRUE, FALSE = ("true", "1", "t", "yes"), ("false", "0", "f", "no", "")
OPTIONAL = {"--pull": "always", "--provenance": "true", "--sbom": "true"}

# No effect here, and none is missed: there is one builder, and nothing is kept between steps.
IGNORED_FLAGS = ("--rm", "--force-rm", "--compress")
IGNORED_VALUES = (
    "--cgroup-parent",
    "--cpu-period",
    "--cpu-quota",
    "--cpu-shares",
    "--cpuset-cpus",
    "--cpuset-mems",
    "--memory",
    "--memory-swap",
    "--resource",
    "--runroot",
)
WINDOWS = ("process", "hyperv")  # values of --isolation
# Results would lack what was asked for.
REFUSED_FLAGS = ("--squash",)
REFUSED_VALUES = ("--policy", "--security-opt", "--device")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class PflagCommand(click.Command):
    """Reads `--flag=true` and bare `--pull` as Go does, before click sees them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        flags = {name: off for option in self.params for name, off in _flag_names(option).items()}
        end = args.index("--") if "--" in args else len(args)
        told = [word for arg in args[:end] for word in plain(arg, flags)]
        return super().parse_args(ctx, told + args[end:])


def _flag_names(option: click.Parameter) -> dict[str, str]:
    """The names of a flag, and what switches it off: "" where leaving it out does."""
    if not isinstance(option, click.Option) or not option.is_flag:
        return {}
    return dict.fromkeys(option.opts, option.secondary_opts[0] if option.secondary_opts else "")


def plain(arg: str, flags: Mapping[str, str]) -> list[str]:
    """What click has to be told instead of `arg`."""
    if arg in OPTIONAL:
        return [f"{arg}={OPTIONAL[arg]}"]
    name, equals, value = arg.partition("=")
    if not equals or name not in flags:
        return [arg]
    if value.lower() in TRUE:
        return [name]
    if value.lower() in FALSE:
        return [flags[name]] if flags[name] else []
    raise UsageError(f"{name}={value}: neither true nor false")


def options() -> list[Decorator]:
    """Hidden options for all that is ignored or refused."""
    flags = [_option(name, is_flag=True) for name in (*IGNORED_FLAGS, *REFUSED_FLAGS)]
    short = {"--cpu-shares": "-c", "--memory": "-m"}
    values = [
        _option(name, short.get(name, ""), multiple=True)
        for name in (*IGNORED_VALUES, *REFUSED_VALUES)
    ]
    return [*flags, *values]


def _option(*names: str, **how: Any) -> Decorator:  # noqa: ANN401 - click's own arguments
    return click.option(*(name for name in names if name), hidden=True, **how)


def settle(values: dict[str, Any], warn: Callable[[str], None]) -> None:
    """Take these options out of a command's values: warn of some, refuse others."""
    ignored = [name for name in (*IGNORED_FLAGS, *IGNORED_VALUES) if values.pop(_key(name))]
    for name in (*REFUSED_FLAGS, *REFUSED_VALUES):
        if values.pop(_key(name)):
            raise UsageError(f"{name} is not supported", hint="leave it out")
    if values.get("isolation") in WINDOWS:
        ignored.append(f"--isolation {values['isolation']}")
        values["isolation"] = ""
    if ignored:
        warn(f"{', '.join(ignored)}: without effect here")


def _key(name: str) -> str:
    return name.removeprefix("--").replace("-", "_")
