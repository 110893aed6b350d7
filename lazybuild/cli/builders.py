"""`--builder` and the certificates for it: where to build, if not on this machine.

The names of the files are those of docker and buildctl.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lazybuild.errors import UsageError
from lazybuild.request import Builder

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
IN_DIRECTORY = {"tlscacert": "ca.pem", "tlscert": "cert.pem", "tlskey": "key.pem"}


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The flags of every verb that can build elsewhere."""
    decorators: list[Decorator] = [
        click.option(
            "--builder",
            multiple=True,
            metavar="ADDRESS",
            help="Build on a BuildKit: unix://, tcp://, docker://, docker-container://,"
            " kube-pod://. With several the targets of a bake are spread over them.",
        ),
        click.option("--tlscacert", default="", metavar="FILE", help="Who signs tcp:// builders."),
        click.option("--tlscert", default="", metavar="FILE", help="Our certificate for them."),
        click.option("--tlskey", default="", metavar="FILE", help="The key of --tlscert."),
        click.option(
            "--tlsservername", default="", metavar="NAME", help="The name in their certificate."
        ),
        click.option(
            "--tlsdir", default="", metavar="DIR", help="Where ca.pem, cert.pem and key.pem are."
        ),
    ]
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


def of(values: dict[str, Any]) -> tuple[Builder, ...]:
    """Take the flags out of a command's values."""
    addresses, folder = values.pop("builder"), values.pop("tlsdir")
    files = {flag: values.pop(flag) for flag in IN_DIRECTORY}
    name = values.pop("tlsservername")
    if folder:
        files = {flag: file or _in(folder, flag) for flag, file in files.items()}
    if bool(files["tlscert"]) != bool(files["tlskey"]):
        raise UsageError("--tlscert and --tlskey go together")
    return tuple(
        Builder(
            address=address,
            ca=files["tlscacert"],
            cert=files["tlscert"],
            key=files["tlskey"],
            server_name=name,
        )
        for address in addresses
        if is_address(address) or _has_no_effect(address)
    )


def _in(folder: str, flag: str) -> str:
    path = Path(folder) / IN_DIRECTORY[flag]
    return str(path) if path.exists() else ""


def is_address(text: str) -> bool:
    """Names are what docker has for its builders; there are none here."""
    return "://" in text


def _has_no_effect(name: str) -> bool:
    click.echo(f"WARNING: --builder {name}: a name has no effect here", err=True)
    return False
