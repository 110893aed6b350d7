"""Entry point: finds the verb, loads its module, turns errors into messages and exit codes."""

import errno
import gc
import os
import sys
import traceback

import click

from lazybuild import __version__
from lazybuild.cli import failure, stopping, streams
from lazybuild.cli.verbs import CONTEXT, Verbs
from lazybuild.errors import EXIT_BUG, LazybuildError, ResourceError

SCARCE = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)


@click.command(cls=Verbs, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="lazybuild")
def cli() -> None:
    """Build container images without root and without a daemon, over lazily mounted bases."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    gc.set_threshold(50_000, 20, 100)  # trees are large and hold no cycles: rarely look for some
    streams.settle()
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
    except OSError as error:
        return refused(error)
    except Exception:  # noqa: BLE001 - the last stop: a bug is shown whole
        return bug()


def refused(error: OSError) -> int:
    """What the system said no to, when it says of which file; otherwise nobody expected it."""
    if error.filename is None:
        return bug()
    click.echo(f"ERROR: {error.filename}: {error.strerror}", err=True)
    return ResourceError.exit_code if error.errno in SCARCE else LazybuildError.exit_code


def bug() -> int:
    """Show the exception that is being handled; nobody expected it."""
    traceback.print_exc()
    click.echo("lazybuild: this is a bug, please report it", err=True)
    return EXIT_BUG


def run(argv: list[str]) -> int:
    try:
        value = cli.main(argv, prog_name="lazybuild", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 1
    return value if isinstance(value, int) else 0
