"""`lazybuild mount`: the files of an image in a directory, for as long as this runs."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from lazybuild.build.space import Space
from lazybuild.cli import config, open_image
from lazybuild.errors import HostError, UsageError
from lazybuild.linux import syscalls

NOT_FOUND, NOT_RUN = 127, 126


@click.command("mount", context_settings={**config.CONTEXT, "allow_interspersed_args": False})
@click.argument("image")
@click.argument("directory")
@click.argument("command", nargs=-1, metavar="[-- COMMAND...]")
@open_image.options
def command(image: str, directory: str, command: tuple[str, ...], **values: Any) -> int:  # noqa: ANN401 - click gives them by name
    """Mount IMAGE read-only on DIRECTORY, lazily, until ^C or while COMMAND runs.

    COMMAND sees the mount, and you as root; others see it below /proc/PID/root.
    """
    command = command[1:] if command[:1] == ("--",) else command
    place = Path(directory).absolute()
    if not place.is_dir():
        raise UsageError(f"{directory} is not a directory")
    with open_image.entered(values) as space:
        if not space.entered.mounts:
            raise HostError("nothing can be mounted here (T6)", hint="see lazybuild doctor")
        taken = open_image.taken(space, image, values)
        with taken.snapshots.view(taken.snapshot) as merged:
            attach(merged, place)
            try:
                return held(space, place, command)
            finally:
                syscalls.umount(place, syscalls.MNT_DETACH)


def attach(merged: Path, place: Path) -> None:
    """The same file system in a second place."""
    tree = syscalls.open_tree(merged)
    try:
        syscalls.move_mount(tree, place)
    finally:
        os.close(tree)


def held(space: Space, place: Path, command: tuple[str, ...]) -> int:
    """Run the command, or wait for a signal; it ends this as it ends every verb."""
    if command:
        status = started(command)
        space.check()
        return status
    click.echo(f"{place} is mounted; other processes see it as /proc/{os.getpid()}/root{place}")
    sys.stdout.flush()
    space.stop.wait()
    return 0


def started(command: tuple[str, ...]) -> int:
    """The exit status of a command; of one that a signal ended, as a shell says it."""
    try:
        status = subprocess.run(command, check=False).returncode
    except FileNotFoundError:
        click.echo(f"ERROR: {command[0]}: no such program", err=True)
        return NOT_FOUND
    except OSError as error:
        click.echo(f"ERROR: {command[0]}: {error.strerror}", err=True)
        return NOT_RUN
    return status if status >= 0 else 128 - status
