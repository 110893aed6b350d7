"""`lazybuild doctor`: whether this host can build, on which rung of the ladder, what to mend."""

import json
from dataclasses import asdict

import click

from lazybuild.build.checkup import can_build, findings
from lazybuild.build.finding import Finding
from lazybuild.cli import config
from lazybuild.errors import LazybuildError
from lazybuild.store import Store

ELSEWHERE = "choose another place with --root"
MARKS = {"ok": "ok  ", "warn": "warn", "no": "NO  "}


@click.command("doctor", context_settings=config.CONTEXT)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@config.root_option
def command(*, as_json: bool, root: str) -> int:
    """Try what a build needs and say what to do about each thing that is missing.

    The exit code is 0 when this host can build, else 1.
    """
    found = examine(root)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        for finding in found:
            for line in lines(finding):
                click.echo(line)
    return 0 if can_build(found) else 1


def examine(root: str) -> list[Finding]:
    """A store that can't be opened is a finding like any other."""
    try:
        with Store(config.store_root(root)) as store:
            return findings(store.root)
    except LazybuildError as error:
        fix = error.hint or ELSEWHERE
        return [Finding(name="store", verdict="no", text=error.message, fix=fix)]
    except OSError as error:
        text = f"{error.filename}: {error.strerror}"
        return [Finding(name="store", verdict="no", text=text, fix=ELSEWHERE)]


def lines(finding: Finding) -> list[str]:
    head = f"{MARKS[finding.verdict]}  {finding.name:<7} {finding.text}"
    return [head, f"      {'':<7} fix: {finding.fix}"] if finding.fix else [head]
