"""The verbs and how each is found: loaded when it is asked for, guessed at when it is misspelt."""

import difflib
import importlib

import click

CONTEXT = {"help_option_names": ["-h", "--help"]}
VERBS = {
    "build": "Build an image from a Dockerfile.",
    "check": "Say what is questionable in a Dockerfile.",
    "images": "List the images in the store.",
    "inspect": "Show an image: config, layers, how each is read.",
    "convert": "Write an image anew so that it can be mounted lazily.",
    "run": "Run a command in an image.",
    "mount": "Show the files of an image in a directory.",
    "push": "Push an image to its registry.",
    "pull": "Pull an image into the store.",
    "bake": "Build what a compose or bake file asks for.",
    "manifest": "Make one image for several platforms out of one for each.",
    "tag": "Give an image another name.",
    "rmi": "Remove an image's name from the store.",
    "login": "Log in to a registry.",
    "logout": "Forget the credentials of a registry.",
    "prune": "Remove what no image and no recent build needs.",
    "du": "Show what the store holds.",
    "doctor": "Say whether this host can build, and what to mend.",
    "completion": "Print what a shell needs to complete our words.",
    "version": "Show the version.",
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
        if args[:1] in (["buildx"], ["image"], ["builder"]) and self._knows(args[1:2]):
            args = args[1:]
        elif not args[0].startswith("-") and not self._knows(args[:1]):
            ctx.fail(unknown(args[0]))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def _knows(self, names: list[str]) -> bool:
        return bool(names) and (names[0] in VERBS or names[0] in ALIASES)


def unknown(verb: str) -> str:
    near = difflib.get_close_matches(verb, [*VERBS, *ALIASES], n=1)
    hint = f" (Did you mean {near[0]!r}?)" if near else ""
    return f"No such command {verb!r}.{hint}"
