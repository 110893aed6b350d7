"""`lazybuild bake`: the builds of a compose file or a bake file, in one solve."""

import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from lazybuild.cli import bake_json, build, builders, config, failure, stopping, summary, views
from lazybuild.cli.bake_targets import (
    DEFAULT,
    Fields,
    Plan,
    chosen,
    links,
    merged,
    ordered,
    over,
    resolved,
    words,
)
from lazybuild.errors import LazybuildError, UsageError
from lazybuild.request import BuildRequest, BuildResult, Target

COMPOSE = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
BAKE = ("docker-bake.json", "docker-bake.override.json")


@click.command("bake", context_settings=config.CONTEXT)
@click.argument("targets", nargs=-1, metavar="[TARGET...]")
@click.option("-f", "--file", "files", multiple=True, metavar="FILE", help="Compose or bake file.")
@click.option("--print", "only_print", is_flag=True, help="Print what would be built, as JSON.")
@click.option("--set", "settings", multiple=True, metavar="TARGET.KEY=VALUE", help="Override.")
@click.option("--push", is_flag=True, help="Push every image.")
@click.option("--load", is_flag=True, help="Load every image into the running Docker.")
@click.option("--no-cache", is_flag=True, help="Run every step.")
@click.option("--pull", is_flag=True, help="Ask registries for base images.")
@click.option("--metadata-file", default="", metavar="FILE", help="Digests and numbers, as JSON.")
@click.option(
    "--progress",
    type=click.Choice(views.MODES),
    default=lambda: os.environ.get("BUILDKIT_PROGRESS", "auto"),
    help="How progress is shown.",
)
@builders.options
@config.registry_options
@config.root_option
def command(targets: tuple[str, ...], files: tuple[str, ...], **values: Any) -> None:  # noqa: ANN401 - click gives them by name
    """Build the TARGETs of a compose file's `build:` sections, or of a bake file in JSON.

    Without TARGET the group or target `default` is built, else everything. What several targets
    have in common is built once, the rest at the same time. The first failure ends what is not
    finished; targets that are finished by then are delivered.
    """
    plan = merged([read(Path(name)) for name in files or found_files()])
    names = chosen(plan, targets)
    wanted = {name: overridden(name, resolved(plan, name), values["settings"]) for name in names}
    if values.pop("only_print"):
        click.echo(json.dumps(printed(wanted), indent=2))
        return
    all_targets = {
        name: wanted[name] if name in wanted else resolved(plan, name)
        for name in ordered(wanted, plan)
    }
    results = bake(all_targets, values, shown=names)
    if values["metadata_file"]:
        document = {name: summary.metadata(result) for name, result in results.items()}
        Path(values["metadata_file"]).write_text(json.dumps(document, indent=2) + "\n")


def found_files() -> list[str]:
    found = [name for name in COMPOSE if Path(name).exists()][:1]
    found += [name for name in BAKE if Path(name).exists()]
    if not found:
        raise UsageError("there is no compose or bake file here", hint="name one with -f")
    return found


def read(path: Path) -> Plan:
    if path.suffix == ".hcl":
        raise UsageError(
            f"{path}: HCL is not understood",
            hint="docker buildx bake --print > docker-bake.json writes it as JSON",
        )
    from lazybuild.build.inputs import read_regular  # noqa: PLC0415 - not wanted for --help
    from lazybuild.cli import bake_compose  # noqa: PLC0415 - YAML only when there is some

    data = read_regular(path, bake_compose.MAX_FILE).decode("utf-8", "replace")
    if path.suffix == ".json":
        return bake_json.read(data, str(path), os.environ)
    return bake_compose.read(data, path, {**dotenv(path.parent / ".env"), **os.environ})


def dotenv(path: Path) -> dict[str, str]:
    """NAME=VALUE lines beside a compose file."""
    if not path.is_file():
        return {}
    lines = [line.strip() for line in path.read_text().splitlines()]
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def overridden(name: str, fields: Fields, settings: Sequence[str]) -> Fields:
    """`--set app.tags=x`, `--set *.args.A=b`; a list takes all its settings."""
    found = dict(fields)
    lists: dict[str, list[str]] = {}
    for setting in settings:
        place, equals, value = setting.partition("=")
        target, dot, key = place.partition(".")
        if not equals or not dot:
            raise UsageError(f"--set {setting!r}: expected TARGET.KEY=VALUE")
        if target not in ("*", name):
            continue
        outer, inner, last = key.partition(".")
        if inner:
            found = dict(over(found, {outer: {last: value}}))
        else:
            lists.setdefault(outer, []).append(value)
    return found | {key: value if len(value) > 1 else value[0] for key, value in lists.items()}


def printed(targets: Mapping[str, Fields]) -> dict[str, object]:
    """As `docker buildx bake --print` has it; `bake -f` reads it again."""
    return {"group": {DEFAULT: {"targets": list(targets)}}, "target": dict(targets)}


def bake(
    targets: Mapping[str, Fields], values: Mapping[str, Any], shown: Sequence[str]
) -> Mapping[str, BuildResult]:
    """Build them all; `shown` are those that were asked for, only these are pushed and loaded.

    Each of these gets a line of its own at the end, even when another one failed.
    """
    from lazybuild.build.run import build_all  # noqa: PLC0415 - the whole engine, not for --help

    view = views.open_view(values["progress"])
    stop = threading.Event()
    wanted = [
        Target(
            name=name,
            request=replace(request(name, fields, values, outputs=name in shown), stop=stop),
            links=links(fields),
        )
        for name, fields in targets.items()
    ]
    results: dict[str, BuildResult] = {}
    try:
        with stopping.armed(stop), _told(view):
            build_all(wanted, view, results.__setitem__)
    finally:
        for name in (name for name in shown if name in results):
            click.echo(f"{name}: {summary.last_line(results[name])}", err=True)
    return results


def request(name: str, fields: Fields, values: Mapping[str, Any], *, outputs: bool) -> BuildRequest:
    arguments = [*_common(values, outputs=outputs), *words(name, fields)]
    context = str(fields.get("context") or ".")
    parsed = build.command.make_context("bake", [*arguments, "--", context]).params
    inline = fields.get("dockerfile-inline")
    found = build.request_of(context, {**values, **_kept(parsed, values), "file": ""})
    if not outputs:
        found = replace(found, outputs=())
    if inline:
        return replace(found, dockerfile="-", stdin=str(inline).encode())
    return replace(found, dockerfile=_dockerfile(context, parsed["file"]))


def _common(values: Mapping[str, Any], *, outputs: bool) -> Iterator[str]:
    for key in ("no_cache", "pull", *(("push", "load") if outputs else ())):
        if values[key]:
            yield f"--{key.replace('_', '-')}"


def _kept(parsed: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What the target says; registries and the store are for bake's own flags to name."""
    both = ("push", "load", "no_cache", "pull", "progress", "metadata_file")
    return {key: value for key, value in parsed.items() if key not in own or key in both}


def _dockerfile(context: str, name: str) -> str:
    """A target's Dockerfile is always that of its context, and called by its path: errors of
    several targets have to be told apart.
    """
    if "://" in context or Path(name).is_absolute():
        return name
    names = [name] if name else ["Dockerfile", "dockerfile"]
    paths = [Path(context) / one for one in names]
    return str(next((path for path in paths if path.exists()), paths[0]))


@contextmanager
def _told(view: views.View) -> Iterator[None]:
    """Close the view whatever happens; show a failure with its step."""
    try:
        yield
    except LazybuildError as error:
        view.close()
        failure.show(error, sys.stderr, views.failed_step(view))
        raise click.exceptions.Exit(failure.exit_code(error)) from error
    except BaseException:
        view.close()
        raise
    view.close()
