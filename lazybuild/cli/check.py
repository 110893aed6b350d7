"""`lazybuild check`: the build checks of a Dockerfile, and what else is said without a build."""

from typing import Any

import click

from lazybuild.cli import build as building
from lazybuild.cli import config
from lazybuild.events import discard
from lazybuild.request import BuildRequest


@click.command("check", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("context", default=".", metavar="[PATH|URL|-]")
@click.option("-f", "--file", default="", metavar="FILE", help="Dockerfile; - is standard input.")
@click.option("--target", default="", metavar="STAGE", help="Check what this stage needs only.")
@click.option("--build-arg", multiple=True, metavar="NAME[=VALUE]", help="Value of an ARG.")
@click.option("--platform", default="", metavar="OS/ARCH", help="Platform to check for.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@config.registry_options
@config.root_option
def command(context: str, form: str, **values: Any) -> int:  # noqa: ANN401 - click gives them by name
    """Say what is questionable in a Dockerfile; ends with 1 if something is.

    The rules are the reference's: https://docs.docker.com/reference/build-checks/
    """
    registries = config.registries(values)
    request = BuildRequest(
        root=config.store_root(values["root"]),
        context=context,
        dockerfile=values["file"],
        stdin=building.standard_input(context, values["file"]),
        target=values["target"],
        build_args=config.assignments(values["build_arg"], "--build-arg", from_environment=True),
        platforms=(values["platform"],) if values["platform"] else (),
        registries=registries,
    )
    return answer(request, "check", json=form == "json")


def answer(request: BuildRequest, method: str, *, json: bool) -> int:
    """Print what a method says to standard output."""
    from lazybuild.build import checking  # noqa: PLC0415 - the compiler, not wanted for --help

    text, code = checking.call(request, method, discard, json=json)
    click.echo(text, nl=False)
    return code
