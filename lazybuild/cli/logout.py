"""`lazybuild logout`: forgets the credentials of a registry."""

from typing import Any

import click

from lazybuild.cli import config
from lazybuild.cli.login import host_of
from lazybuild.oci.reference import DOCKER_HUB
from lazybuild.registry.login import logout


@click.command("logout", context_settings=config.CONTEXT)
@click.argument("registry", default=DOCKER_HUB, metavar="[HOST[:PORT]]")
@config.registry_options
def command(registry: str, **values: Any) -> None:  # noqa: ANN401 - click gives them by name
    """Forget the credentials of a registry, Docker's when none is named."""
    host = host_of(registry)
    known = logout(config.registries(values), host)
    click.echo(f"Removed the credentials of {host}" if known else f"Not logged in to {host}")
