"""`lazybuild du`: what the store holds, the largest first."""

import json
import time
from collections import defaultdict
from dataclasses import asdict

import click

from lazybuild.cli import config
from lazybuild.cli.open_space import open_store_inside
from lazybuild.cli.progress.escape import plain_text
from lazybuild.cli.prune import policy_of
from lazybuild.cli.summary import megabytes
from lazybuild.cli.table import table
from lazybuild.errors import UsageError
from lazybuild.store.gc import MOUNTS, STEPS, Policy
from lazybuild.store.usage import Usage, total, usage

DESCRIPTION = 50


@click.command("du", context_settings=config.CONTEXT)
@click.option("--json", "as_json", is_flag=True, help="As JSON, sizes in bytes.")
@click.option("--format", "form", default="", metavar="json", help="The same.")
@click.option("-v", "--verbose", is_flag=True, help="Every item.")
@click.option(
    "--filter", "filters", multiple=True, metavar="NAME=VALUE", help="As `prune` has them."
)
@config.root_option
def command(
    *, as_json: bool, form: str, verbose: bool, filters: tuple[str, ...], root: str
) -> None:
    """Show how much room the store takes, and how much of it `prune --all` would free."""
    if form not in ("", "json"):
        raise UsageError(f"--format {form}: not known", hint="json")
    policy = policy_of(filters, "", everything=True)
    with open_store_inside(root) as store:
        items = [item for item in usage(store) if is_chosen(item, policy)]
    if as_json or form:
        click.echo(json.dumps([asdict(item) for item in items], indent=2))
        return
    if verbose:
        click.echo(table([["ID", "KIND", "SIZE", "HELD", "DESCRIPTION"], *map(row, items)]))
    click.echo(table([["KIND", "COUNT", "SIZE", "FREE TO GO"], *kinds(items)]), nl=False)


def is_chosen(item: Usage, policy: Policy) -> bool:
    """Whether the filters mean this one."""
    kind = {"layer": STEPS, "mount": MOUNTS}.get(item.kind, item.kind)
    old = not policy.unused_for or 0 < item.used < time.time() - policy.unused_for
    named = policy.chooses(item.description, item.id.removeprefix("sha256:"))
    return old and named and policy.only in ("", kind)


def row(item: Usage) -> list[str]:
    said = plain_text(item.description)[:DESCRIPTION]
    short = item.id.removeprefix("sha256:")[:12]
    return [short, item.kind, megabytes(item.size), "yes" if item.held else "no", said]


def kinds(items: list[Usage]) -> list[list[str]]:
    by_kind: defaultdict[str, list[Usage]] = defaultdict(list)
    for item in items:
        by_kind[item.kind].append(item)
    rows = [summary(kind, found) for kind, found in sorted(by_kind.items())]
    return [*rows, summary("total", items)]


def summary(name: str, items: list[Usage]) -> list[str]:
    free = [item for item in items if not item.held]
    return [name, str(len(items)), megabytes(total(items)), megabytes(total(free))]
