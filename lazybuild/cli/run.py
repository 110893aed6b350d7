"""`lazybuild run`: a command in an image, without root and before its layers are here."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from lazybuild.build import container, shelf, translate
from lazybuild.build.container import Wish
from lazybuild.build.space import Space
from lazybuild.cli import config, open_image, terminal
from lazybuild.errors import UsageError
from lazybuild.executor.run import Exit, Stdio
from lazybuild.executor.spec import BindMount


@click.command("run", context_settings={**config.CONTEXT, "allow_interspersed_args": False})
@click.argument("image")
@click.argument("command", nargs=-1, metavar="[COMMAND...]")
@click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Variable.")
@click.option("--env-file", multiple=True, metavar="FILE", help="File of NAME=VALUE lines.")
@click.option("-w", "--workdir", default="", metavar="DIR", help="Working directory.")
@click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="Who runs it.")
@click.option("--entrypoint", default=None, metavar="PROGRAM", help="Not the image's.")
@click.option("-v", "--volume", multiple=True, metavar="DIR:DEST[:ro]", help="Bind mount.")
@click.option("--network", default="", metavar="MODE", help="default, host or none.")
@click.option("--add-host", multiple=True, metavar="HOST:IP", help="Line of /etc/hosts.")
@click.option("--hostname", default=container.HOSTNAME, metavar="NAME", help="Host name.")
@click.option("-i", "--interactive", is_flag=True, help="Give it standard input.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@click.option("--rm", is_flag=True, help="Nothing is ever kept; for those used to it.")
@click.option("--pull", is_flag=True, help="Ask the registry even if the store has the image.")
@open_image.options
def command(image: str, command: tuple[str, ...], **values: Any) -> int:  # noqa: ANN401 - click gives them by name
    """Run COMMAND, or what the image names, in IMAGE.

    Its layers are mounted lazily. What it writes is thrown away at its end; its exit code is ours.
    """
    command = command[1:] if command[:1] == ("--",) else command
    wish, stdio = wish_of(command, values), stdio_of(values)
    with open_image.entered(values) as space:
        taken = open_image.taken(space, image, values, pull=values["pull"])
        ended = attached(space, taken, wish, stdio)
    if ended.reason:
        click.echo(f"ERROR: {ended.reason}", err=True)
    return ended.status


def attached(space: Space, taken: shelf.Shelf, wish: Wish, stdio: Stdio) -> Exit:
    """Run with our own input and output, or over a terminal that is tied to ours."""
    if not stdio.terminal:
        return container.run(space, taken, wish, write, stdio)
    with terminal.tied() as theirs:
        return container.run(space, taken, wish, write, Stdio(stdin=theirs, terminal=True))


def write(stream: int, data: bytes) -> None:
    out = sys.stdout if stream == 1 else sys.stderr
    out.buffer.write(data)
    out.buffer.flush()


def wish_of(command: tuple[str, ...], values: dict[str, Any]) -> Wish:
    """What the flags ask for."""
    env = config.read_assignments(values["env_file"], "--env-file")
    env |= config.assignments(values["env"], "--env", from_environment=True)
    if values["tty"]:
        env = {"TERM": os.environ.get("TERM", "xterm"), **env}
    entrypoint = values["entrypoint"]
    return Wish(
        command=command,
        entrypoint=None if entrypoint is None else tuple(word for word in (entrypoint,) if word),
        env=env,
        user=values["user"],
        cwd=values["workdir"],
        mounts=tuple(volume(text) for text in values["volume"]),
        network=translate.network(values["network"]),
        hostname=values["hostname"],
        add_hosts=tuple(translate.add_host(text) for text in values["add_host"]),
    )


def volume(text: str) -> BindMount:
    """`DIR:DEST` or `DIR:DEST:ro`; there are no named volumes."""
    source, _, rest = text.partition(":")
    dest, _, mode = rest.partition(":")
    if not source or not dest or mode not in ("", "ro", "rw"):
        raise UsageError(f"--volume {text!r}: expected DIR:DEST[:ro]")
    place = Path(source).absolute()
    if not place.exists():
        raise UsageError(f"--volume {text!r}: there is no {place}")
    return BindMount(source=place, dest=dest, readonly=mode == "ro")


def stdio_of(values: dict[str, Any]) -> Stdio:
    if values["tty"] and not os.isatty(0):
        raise UsageError("--tty: standard input is not a terminal")
    if values["tty"]:
        return Stdio(stdin=0, terminal=True)
    return Stdio(stdin=0 if values["interactive"] else -1)
