"""Entry point: finds the verb, loads its module, turns errors into messages and exit codes."""

import gc
import os
import sys
import traceback
from typing import NoReturn

import click

from lazybuild import __version__
from lazybuild.cli import failure, stopping, streams
from lazybuild.cli.verbs import CONTEXT, Verbs
from lazybuild.errors import EXIT_BUG, LazybuildError, ResourceError
from lazybuild.linux.shortage import hush_threads, of_memory


@click.command(cls=Verbs, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="lazybuild")
def cli() -> None:
    """Build container images without root and without a daemon, over lazily mounted bases."""


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code, at once: threads that still wait for somebody
    hold nothing that outlives the process, and to end one by one they would need memory.
    """
    gc.set_threshold(100_000, 20, 100)  # trees are large and hold no cycles: rarely look for some
    streams.settle()
    hush_threads()
    stopping.install()
    code = guarded(sys.argv[1:] if argv is None else argv)
    streams.flush()
    os._exit(code)


def guarded(argv: list[str]) -> int:
    try:
        return run(argv)
    except LazybuildError as error:
        failure.show(error, sys.stderr)
        return failure.exit_code(error)
    except stopping.Interrupted as stop:
        click.echo(f"lazybuild: {stop.message}", err=True)
        return stop.code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the last stop: a bug is shown whole
        told = shortage(error)
        if told is None:
            return bug()
        failure.show(told, sys.stderr)
        return failure.exit_code(told)


def shortage(error: Exception) -> LazybuildError | None:
    """What the system said no to, when it says of which file; otherwise nobody expected it."""
    from lazybuild.store import disk  # noqa: PLC0415 - not for --help

    told = disk.trouble(error, "lazybuild") if isinstance(error, OSError) else None
    if told is not None:
        return told
    if what := of_memory(error):
        hint = "raise the limits on memory and processes (`ulimit -a`)"
        return ResourceError(f"no more memory: {what}", hint=hint)
    if isinstance(error, OSError) and error.filename is not None:
        return LazybuildError(f"{error.filename}: {error.strerror}")
    return None


def bug() -> int:
    """Show the exception that is being handled; nobody expected it."""
    traceback.print_exc()
    click.echo("lazybuild: this is a bug, please report it", err=True)
    return EXIT_BUG


def run(argv: list[str]) -> int:
    try:
        value = cli.main(argv, prog_name="lazybuild", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 1
    return value if isinstance(value, int) else 0
