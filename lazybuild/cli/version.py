"""`lazybuild version`: this program's version and what it stands on."""

import json
import platform

import click

from lazybuild import __version__
from lazybuild.cli import config


@click.command("version", context_settings=config.CONTEXT)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(*, as_json: bool) -> None:
    """Show the version."""
    facts = {
        "lazybuild": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "platform": f"{platform.system().lower()}/{platform.machine()}",
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        click.echo(f"{name} {value}")
