"""Entry point: finds the verb, loads its module, turns errors into messages and exit codes."""

import importlib
import os
import sys
import traceback

import click

from lazybuild import __version__
from lazybuild.cli import failure, stopping
from lazybuild.errors import EXIT_BUG, LazybuildError

VERBS = {
    "build": "Build an image from a Dockerfile.",
    "images": "List the images in the store.",
    "inspect": "Show an image: config, layers, how each is read.",
    "run": "Run a command in an image.",
    "push": "Push an image to its registry.",
    "pull": "Pull an image into the store.",
    "tag": "Give an image another name.",
    "rmi": "Remove an image's name from the store.",
    "prune": "Remove what no image and no recent build needs.",
    "du": "Show what the store holds.",
}
ALIASES = {"b": "build", "bud": "build"}


class Verbs(click.Group):
    """A group whose commands are modules of this package, loaded when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in VERBS:
            return None
        module = importlib.import_module(f"lazybuild.cli.{name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[:2] == ["buildx", "build"]:
            args = args[1:]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lazybuild")
def cli() -> None:
    """Build container images without root and without a daemon, over lazily mounted bases."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    stopping.install()
    sys.exit(guarded(sys.argv[1:] if argv is None else argv))


def guarded(argv: list[str]) -> int:
    try:
        return run(argv)
    except LazybuildError as error:
        failure.show(error, sys.stderr)
        return failure.exit_code(error)
    except stopping.Interrupted as stop:
        click.echo(f"lazybuild: interrupted by signal {stop.number}", err=True)
        return 128 + stop.number
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception:  # noqa: BLE001 - the last stop: a bug is shown whole
        traceback.print_exc()
        click.echo("lazybuild: this is a bug, please report it", err=True)
        return EXIT_BUG


def run(argv: list[str]) -> int:
    try:
        value = cli.main(argv, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 1
    return value if isinstance(value, int) else 0
