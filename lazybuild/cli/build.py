"""`lazybuild build`: the flags of `docker build` and `docker buildx build`."""

import os
import sys
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from lazybuild.cli import (
    attestations,
    build_options,
    builders,
    caching,
    config,
    debug,
    dialect,
    durations,
    environment,
    failure,
    outputs,
    stopping,
    summary,
    views,
)
from lazybuild.errors import LazybuildError, UsageError
from lazybuild.events import Warned
from lazybuild.request import ALL_STAGES, BuildRequest, BuildResult, Pull, Secret, SshAgent

EPOCH = "SOURCE_DATE_EPOCH"
PULLS = {policy.value: policy for policy in Pull}
PULLS |= {"newer": Pull.ALWAYS, "true": Pull.ALWAYS, "false": Pull.MISSING}


@click.command("build", cls=dialect.PflagCommand, context_settings=config.CONTEXT)
@click.argument("context", default=".", metavar="[PATH|URL|-]")
@build_options.with_options
@builders.options
@config.registry_options
@config.root_option
def command(context: str, **values: Any) -> int:  # noqa: ANN401 - click gives them by name
    """Build an image from a Dockerfile.

    PATH is the directory that COPY and ADD read from. Base images that are eStargz are mounted
    lazily; every layer of the result is eStargz, its files in the order in which they are wanted.
    """
    environment.check(warn)
    dialect.settle(values, warn)
    quiet = values.pop("quiet")
    mode = "quiet" if quiet else values.pop("progress")
    values.pop("progress", None)
    iidfile, metadata_file = values.pop("iidfile"), values.pop("metadata_file")
    timeout, trace = values.pop("timeout"), values.pop("debug")
    logfile, choice = values.pop("logfile"), values.pop("on_failure") or ""
    method, form = asked_method(values)
    request = request_of(context, values)
    if method != "build":
        from lazybuild.cli import check  # noqa: PLC0415 - builds don't need it

        return check.answer(request, method, json=form == "json")
    view = views.logged(views.open_view(debug.plain_mode(mode, choice)), logfile)
    warned: list[Warned] = []
    asked = Asked(
        view=views.NotingView(view, warned), choice=choice, debug=trace, into=metadata_file
    )
    with stopping.limited(durations.seconds(timeout, "--timeout") if timeout else 0.0, timeout):
        result = build_shown(request, asked)
    if iidfile:
        Path(iidfile).write_text(result.image_id)
    if metadata_file:
        summary.write_metadata(metadata_file, result, warned if environment.warnings() else None)
    if mode != "rawjson":  # which programs read to its end
        click.echo(result.image_id if quiet else summary.last_line(result), err=not quiet)
    return 0


def warn(text: str) -> None:
    click.echo(f"WARNING: {text}", err=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a build is shown: `into` is the file that tells of a failure, "" is none."""

    view: views.View
    choice: str = ""
    debug: bool = False
    into: str = ""


def build_shown(request: BuildRequest, asked: Asked) -> BuildResult:
    """Build with a view of the progress; a failure is shown with its step and raised as a code."""
    from lazybuild.build.run import build  # noqa: PLC0415 - the whole engine, not for --help

    view = asked.view
    shell = debug.Shell(view)
    request = replace(request, on_failure=debug.on_failure(asked.choice, shell))
    with stopping.armed(request.stop):
        try:
            result = build(request, shell)
        except LazybuildError as error:
            view.close()
            raise failed(error, asked) from error
        except BaseException:
            view.close()
            raise
    view.close()
    return result


def failed(error: LazybuildError, asked: Asked) -> click.exceptions.Exit:
    """Tell of a failure, to people and to programs; the exit that it means."""
    if asked.debug:
        traceback.print_exception(error)
    step = views.failed_step(asked.view)
    failure.show(error, sys.stderr, step)
    code = failure.exit_code(error)
    if asked.into:
        summary.write_failure(asked.into, error, step.name if step else "", code)
    return click.exceptions.Exit(code)


def request_of(context: str, values: dict[str, Any]) -> BuildRequest:
    """The request that the flags ask for."""
    given = dict(values)
    registries = config.registries(given)
    stdin = standard_input(context, given["file"])
    arguments = config.read_assignments(given["build_arg_file"], "--build-arg-file")
    arguments |= config.assignments(given["build_arg"], "--build-arg", from_environment=True)
    epoch = dated(arguments, given["source_date_epoch"])
    return BuildRequest(
        root=config.store_root(given["root"]),
        context=context,
        dockerfile=given["file"],
        frontend=given["frontend"],
        stdin=stdin,
        tags=tuple(given["tag"]),
        ignorefile=given["ignorefile"],
        target=given["target"],
        platforms=tuple(name for text in given["platform"] for name in text.split(",")),
        build_args=arguments,
        build_contexts=config.assignments(
            given["build_context"], "--build-context", from_environment=False
        ),
        labels=environment.labels(context, given["file"])
        | config.assignments(given["label"], "--label", from_environment=False),
        annotations=tuple(given["annotation"]),
        no_cache=ALL_STAGES if given["no_cache"] else tuple(given["no_cache_filter"]),
        cache_from=caching.collect(tuple(given["cache_from"]), "--cache-from"),
        cache_to=caching.collect(tuple(given["cache_to"]), "--cache-to"),
        cache_strict=given["cache_strict"],
        cache_mounts_from=caching.mounts(tuple(given["cache_mounts_from"]), "--cache-mounts-from"),
        cache_mounts_to=caching.mounts(tuple(given["cache_mounts_to"]), "--cache-mounts-to"),
        explain=given["explain"],
        sbom=attestations.sbom(given),
        provenance=attestations.provenance(given),
        pull=PULLS[given["pull"]],
        network=given["network"],
        add_hosts=tuple(given["add_host"]),
        shm_size=bytes_of(given["shm_size"], "--shm-size"),
        ulimits=tuple(given["ulimit"]),
        allow=allowed(given["allow"], here=not any(map(builders.is_address, given["builder"]))),
        secrets=tuple(secret(text) for text in given["secret"]),
        ssh=tuple(agent(text) for text in given["ssh"]),
        outputs=outputs.collect(tuple(given["output"]), push=given["push"], load=given["load"]),
        compression=given["compression"],
        epoch=epoch,
        rewrite_timestamp=given["rewrite_timestamp"],
        prefetch=given["prefetch"],
        require_lazy=given["require_lazy"],
        allow_unverified=given["allow_unverified"],
        convert_base=given["convert_base"],
        background_fetch=given["background_fetch"],
        profile_from=given["profile_from"],
        profile_to=given["profile_to"],
        isolation=given["isolation"],
        jobs=given["jobs"],
        keep_storage=bytes_of(given["keep_storage"], "--keep-storage"),
        registries=registries,
        builders=builders.of(given),
    )


def bytes_of(text: str, flag: str) -> int:
    return config.size(text, flag) if text else 0


def allowed(entitlements: tuple[str, ...], *, here: bool) -> tuple[str, ...]:
    """What `--allow` says; a BuildKit elsewhere may have more to give than a rootless builder."""
    for name in entitlements:
        if here and name != "network.host":
            raise UsageError(f"--allow {name}: not to be had without root", hint="network.host is")
    return entitlements


def standard_input(context: str, file: str) -> bytes:
    return sys.stdin.buffer.read() if "-" in (context, file) else b""


def asked_method(values: dict[str, Any]) -> tuple[str, str]:
    """What `--call METHOD[,format=json]` and `--check` ask for instead of a build."""
    check, form = values.pop("check"), values.pop("format")
    method, *options = (values.pop("call") or "build").split(",")
    for option in options:
        name, _, value = option.partition("=")
        if name != "format":
            raise UsageError(f"--call {method}: {option!r} is not an option", hint="format=json")
        form = value
    if form not in ("", "text", "json"):
        raise UsageError(f"--call {method}: format {form!r} is not known", hint="text or json")
    return ("check" if check or method == "lint" else method), form


def dated(arguments: dict[str, str], flag: int | None) -> int | None:
    """The epoch: of the flag, the build argument or the environment. All of them are arguments of
    the build, where one that is no number (a source's name, or nothing) is for the compiler.
    """
    epoch = flag
    if epoch is None and EPOCH not in arguments:
        epoch = environment_epoch()
    if epoch is not None:
        arguments[EPOCH] = str(epoch)
    text = arguments.get(EPOCH, "")
    return int(text) if text.isdecimal() else None


def environment_epoch() -> int | None:
    text = os.environ.get(EPOCH, "")
    if not text:
        return None
    if not text.isdecimal():
        raise UsageError(f"{EPOCH}={text!r}: not a number of seconds")
    return int(text)


def secret(text: str) -> Secret:
    """`id=x,src=FILE`, `id=x,env=NAME`, or `id=x`: the variable x, else the file x."""
    fields = outputs.pairs(text, "--secret")
    name = fields.get("id", "")
    file, env = fields.get("src", fields.get("source", "")), fields.get("env", "")
    if fields.get("type") == "env" and not env:
        env = name
    if not name:
        raise UsageError(f"--secret {text!r}: id= is missing")
    if not file and not env:
        env, file = (name, "") if name in os.environ else ("", name)
    return Secret(id=name, file=file, env=env)


def agent(text: str) -> SshAgent:
    """`default`, `ID=SOCKET` or `ID=KEY,KEY`; without a path the agent of $SSH_AUTH_SOCK."""
    name, _, rest = text.partition("=")
    names = tuple(part for part in rest.split(",") if part)
    if not names:
        socket = os.environ.get("SSH_AUTH_SOCK", "")
        if not socket:
            raise UsageError(f"--ssh {text}: no SSH_AUTH_SOCK, and no socket or key is given")
        return SshAgent(id=name, socket=socket)
    if len(names) == 1 and Path(names[0]).is_socket():
        return SshAgent(id=name, socket=names[0])
    return SshAgent(id=name, keys=names)
