"""`lazybuild login`: credentials of a registry, tried and then kept where Docker keeps them."""

import sys
from typing import Any

import click

from lazybuild.cli import config
from lazybuild.errors import UsageError
from lazybuild.oci.reference import DOCKER_HUB
from lazybuild.registry.login import login


@click.command("login", context_settings=config.CONTEXT)
@click.argument("registry", default=DOCKER_HUB, metavar="[HOST[:PORT]]")
@click.option("-u", "--username", default="", metavar="USER")
@click.option("-p", "--password", default="", metavar="PASSWORD", help="Better: --password-stdin.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@config.registry_options
def command(
    registry: str,
    username: str,
    password: str,
    *,
    password_stdin: bool,
    **values: Any,  # noqa: ANN401 - click gives them by name
) -> None:
    """Log in to a registry, Docker's when none is named.

    The credentials go to the helper that the configuration names, else into its file, mode 0600.
    """
    if password and password_stdin:
        raise UsageError("--password and --password-stdin exclude each other")
    user = username or asked("Username", hidden=False)
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    secret = password or asked("Password", hidden=True)
    place = login(config.registries(values), host_of(registry), user, secret)
    click.echo(f"Login succeeded; the credentials are in {place}")


def asked(what: str, *, hidden: bool) -> str:
    if not sys.stdin.isatty():
        raise UsageError(f"no {what.lower()} is given", hint="use -u and --password-stdin")
    return str(click.prompt(what, hide_input=hidden, err=True))


def host_of(text: str) -> str:
    """`https://index.docker.io/v1/` and `ghcr.io/owner` name a host, too."""
    host = text.partition("://")[2] or text
    host = host.partition("/")[0]
    return DOCKER_HUB if host in ("index.docker.io", "registry-1.docker.io") else host
