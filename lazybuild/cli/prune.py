"""`lazybuild prune`: removes what no image and no recent build needs."""

import sys

import click

from lazybuild.cli import config, durations
from lazybuild.cli.open_space import open_store_inside
from lazybuild.cli.outputs import pairs
from lazybuild.cli.summary import megabytes
from lazybuild.errors import UsageError
from lazybuild.store import reserve
from lazybuild.store.gc import MOUNTS, STEPS, Policy, Pruned, prune


@click.command("prune", context_settings=config.CONTEXT)
@click.option("-a", "--all", "everything", is_flag=True, help="All caches, however new.")
@click.option("-f", "--force", is_flag=True, help="Don't ask.")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="NAME=VALUE",
    help="until=24h (unused for so long), description=TEXT, id=PREFIX,"
    " type=regular|exec.cachemount.",
)
@click.option(
    "--keep-storage",
    "--max-used-space",
    "--reserved-space",
    "keep",
    default="",
    metavar="SIZE",
    help="Stop when this is left.",
)
@click.option(
    "--min-free-space", "free", default="", metavar="SIZE", help="Stop when this is free."
)
@config.root_option
def command(
    *, everything: bool, force: bool, filters: tuple[str, ...], keep: str, free: str, root: str
) -> int:
    """Remove what no image needs and no build of the last week used.

    Images with a name stay; `rmi` takes names away. Running builds are not disturbed.
    """
    policy = policy_of(filters, keep, free, everything=everything)
    if not force and sys.stdin.isatty():
        what = "all caches" if everything else "what no image and no recent build needs"
        click.confirm(f"Remove {what}?", abort=True)
    reserve.spend(config.store_root(root))
    with open_store_inside(root) as store:
        pruned = prune(store, policy)
    for line in lines(pruned):
        click.echo(line)
    for item in pruned.stuck:
        click.echo(f"WARNING: left behind: {item}", err=True)
    return 1 if pruned.stuck else 0


def policy_of(filters: tuple[str, ...], keep: str, free: str = "", *, everything: bool) -> Policy:
    """What the flags say; age is asked for by until=, and where nothing else says what may go."""
    chosen = chosen_of(filters)
    until = [value for name, value in chosen if name in ("until", "unused-for")]
    kind = next((value for name, value in chosen if name == "type"), "")
    ageless = 0.0 if everything or keep or free or kind == MOUNTS else Policy().unused_for
    return Policy(
        unused_for=durations.seconds(until[-1], "--filter until") if until else ageless,
        keep=config.size(keep, "--keep-storage") if keep else None,
        free=config.size(free, "--min-free-space") if free else None,
        description=next((value for name, value in chosen if name == "description"), ""),
        ids=tuple(value.removeprefix("sha256:") for name, value in chosen if name == "id"),
        everything=everything,
        only=kind,
    )


def chosen_of(filters: tuple[str, ...]) -> list[tuple[str, str]]:
    """The filters as pairs, every name and type known."""
    chosen = [pair for text in filters for pair in pairs(text, "--filter").items()]
    for name, value in chosen:
        if name not in FILTERS:
            raise UsageError(f"--filter {name}: not a filter", hint=f"one of {', '.join(FILTERS)}")
        if name == "type" and value not in (STEPS, MOUNTS):
            raise UsageError(f"--filter type={value}: not a type", hint=f"{STEPS} or {MOUNTS}")
    return chosen


FILTERS = ("until", "unused-for", "description", "id", "type")


def lines(pruned: Pruned) -> list[str]:
    """`removed 3 cache records, 4 layers, 7 blobs` and how much that was."""
    counts = [
        (pruned.records, "cache record"),
        (pruned.layers, "layer"),
        (pruned.blobs, "blob"),
        (pruned.mounts, "cache mount"),
    ]
    parts = [f"{count} {what}{'s' if count > 1 else ''}" for count, what in counts if count]
    return [f"removed {', '.join(parts) or 'nothing'}", f"freed {megabytes(pruned.bytes)}"]
