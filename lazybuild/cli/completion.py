"""`lazybuild completion`: what a shell has to read so that it completes our words and flags."""

import click
from click.shell_completion import get_completion_class

from lazybuild.cli import config
from lazybuild.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_LAZYBUILD_COMPLETE"  # click looks for it under the program's name


@click.command("completion", context_settings=config.CONTEXT)
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    r"""Print the completion of SHELL.

    \b
    bash:  eval "$(lazybuild completion bash)"
    zsh:   eval "$(lazybuild completion zsh)"
    fish:  lazybuild completion fish | source
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"{shell}: no completion for this shell")
    root = click.get_current_context().find_root().command
    made = kind(root, {}, "lazybuild", VARIABLE)
    click.echo(made.source_template % made.source_vars())
