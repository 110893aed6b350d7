"""`lazybuild build`: the flags of `docker build` and `docker buildx build`."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from lazybuild.cli import (
    attestations,
    builders,
    caching,
    config,
    debug,
    dialect,
    durations,
    failure,
    outputs,
    stopping,
    summary,
    views,
)
from lazybuild.errors import LazybuildError, UsageError
from lazybuild.request import ALL_STAGES, BuildRequest, BuildResult, Pull, Secret, SshAgent

EPOCH = "SOURCE_DATE_EPOCH"
PULLS = {policy.value: policy for policy in Pull}
PULLS |= {"newer": Pull.ALWAYS, "true": Pull.ALWAYS, "false": Pull.MISSING}


def _flag(*names: str, text: str) -> config.Decorator:
    return click.option(*names, is_flag=True, help=text)


def _many(*names: str, metavar: str, text: str) -> config.Decorator:
    return click.option(*names, multiple=True, metavar=metavar, help=text)


def _one(*names: str, metavar: str, text: str, default: str = "") -> config.Decorator:
    return click.option(*names, default=default, metavar=metavar, help=text)


OPTIONS: list[config.Decorator] = [
    _one("-f", "--file", metavar="FILE", text="Dockerfile; - reads it from standard input."),
    _one(
        "--frontend",
        metavar="IMAGE",
        text="Let this frontend image compile the file, whatever its # syntax= line says;"
        " dockerfile.v0 is the built-in compiler.",
    ),
    _many("-t", "--tag", metavar="NAME[:TAG]", text="Name of the image."),
    _one("--target", metavar="STAGE", text="Build this stage only."),
    _many("--build-arg", metavar="NAME[=VALUE]", text="Value of an ARG."),
    _many("--build-arg-file", metavar="FILE", text="File of NAME=VALUE lines."),
    _many("--build-context", metavar="NAME=SOURCE", text="Another context by name."),
    _many("--platform", metavar="OS/ARCH", text="Platform of the result."),
    _many("--label", metavar="NAME=VALUE", text="Label of the image."),
    _many("--annotation", metavar="NAME=VALUE", text="Annotation of the manifest."),
    _many(
        "-o",
        "--output",
        metavar="type=TYPE,dest=PATH",
        text="image, registry, oci, docker, local or tar; a bare path is local.",
    ),
    _flag("--push", text="Push to the registry: -o type=registry."),
    _flag("--load", text="Load into the running Docker: -o type=docker."),
    _many(
        "--cache-from",
        metavar="type=registry,ref=NAME",
        text="Take over what another machine cached: registry, local (src=DIR).",
    ),
    _many(
        "--cache-to",
        metavar="type=registry,ref=NAME,mode=max",
        text="Give the cache to others: registry, local (dest=DIR), inline; mode min or max.",
    ),
    _many(
        "--cache-mounts-from",
        metavar="type=registry,ref=NAME",
        text="Fill new cache mounts of RUN with those of another machine; or type=local,src=DIR.",
    ),
    _many(
        "--cache-mounts-to",
        metavar="type=registry,ref=NAME",
        text="Give the cache mounts of RUN to others; or type=local,dest=DIR.",
    ),
    _flag("--cache-strict", text="Fail when a cache can't be read or written."),
    _flag("--explain", text="Say of every step why it was cached, or what changed."),
    _flag("--no-cache", text="Run every step."),
    _many("--no-cache-filter", metavar="STAGE", text="Run every step of this stage."),
    click.option(
        "--pull",
        default="missing",
        type=click.Choice([*PULLS]),
        help="Ask registries for base images even if the store has them; never asks for nothing.",
    ),
    _one("--network", metavar="MODE", text="Network of RUN: default, host or none."),
    _many("--add-host", metavar="HOST:IP", text="Line of /etc/hosts in RUN."),
    _one("--shm-size", metavar="SIZE", text="Size of /dev/shm in RUN."),
    _many("--ulimit", metavar="NAME=SOFT[:HARD]", text="Limit of RUN."),
    _many("--allow", metavar="ENTITLEMENT", text="Allow network.host or security.insecure."),
    _many("--secret", metavar="id=ID[,src=FILE|,env=NAME]", text="Secret for RUN --mount."),
    _many("--ssh", metavar="ID[=SOCKET|KEY]", text="SSH agent for RUN --mount."),
    _one(
        "--compression",
        metavar="FORMAT[:LEVEL]",
        text="Layers: estargz (default), gzip, zstd, zstd:chunked, none.",
    ),
    click.option(
        "--source-date-epoch",
        type=int,
        default=None,
        metavar="SECONDS",
        help="Latest time in the image (or $SOURCE_DATE_EPOCH).",
    ),
    click.option(
        "--rewrite-timestamp/--no-rewrite-timestamp",
        default=None,
        help="Clamp the times of files too; on when an epoch is given.",
    ),
    click.option(
        "--prefetch/--no-prefetch",
        default=True,
        help="Put the files that the build saw used first in each layer.",
    ),
    _many("--sbom", metavar="[true|false]", text="State which packages are in the image (SPDX)."),
    _many(
        "--provenance",
        metavar="[true|false|mode=min|max]",
        text="State where the image comes from (SLSA).",
    ),
    _many("--attest", metavar="type=sbom|provenance", text="The same, as buildx has it."),
    _flag("--require-lazy", text="Fail when a base layer can't be read lazily."),
    _flag("--allow-unverified", text="Read layers lazily whose content nobody vouches for."),
    _flag("--convert-base", text="Make layers of the base that can't be lazy ones that can."),
    _flag("--background-fetch", text="Fetch the rest of lazy base layers while steps run."),
    _one(
        "--profile-from",
        metavar="REPOSITORY|off",
        text="Where to look for what earlier builds read of the base (default: beside the base).",
    ),
    _one(
        "--profile-to",
        metavar="REPOSITORY|off",
        text="Where to push what this build read (default: beside the base, where allowed).",
    ),
    _one("--isolation", metavar="TIER", text="Force a tier (T1, T2, ...); see doctor."),
    click.option("--jobs", type=int, default=0, metavar="N", help="Steps at a time."),
    click.option(
        "--keep-storage",
        default=lambda: os.environ.get("LAZYBUILD_KEEP_STORAGE", ""),
        metavar="SIZE",
        help="Let the cache be this large (or $LAZYBUILD_KEEP_STORAGE; a fifth of the disk).",
    ),
    _flag("--check", text="Check the Dockerfile instead of building it: --call=check."),
    _one(
        "--call",
        metavar="METHOD",
        text="check, outline or targets instead of build; METHOD,format=json.",
    ),
    _one("--format", metavar="FORMAT", text="Of --check and --call: text or json."),
    _one("--iidfile", metavar="FILE", text="Write the image ID there."),
    _one("--metadata-file", metavar="FILE", text="Write digests and numbers there, as JSON."),
    click.option(
        "--progress",
        type=click.Choice(views.MODES),
        default=lambda: os.environ.get("BUILDKIT_PROGRESS", "auto"),
        help="How progress is shown (or $BUILDKIT_PROGRESS).",
    ),
    _one("--logfile", metavar="FILE", text="Write all output there, too."),
    click.option(
        "--on-failure",
        type=click.Choice(debug.CHOICES),
        default=None,
        help="Open a shell in a step that failed.",
    ),
    _one("--timeout", metavar="DURATION", text="End a build that takes longer: 90s, 1h30m."),
    _flag("-q", "--quiet", text="Print the image ID only."),
]


def _with_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed([*OPTIONS, *dialect.options()]):
        function = option(function)
    return function


@click.command("build", cls=dialect.PflagCommand, context_settings=config.CONTEXT)
@click.argument("context", default=".", metavar="[PATH|URL|-]")
@_with_options
@builders.options
@config.registry_options
@config.root_option
def command(context: str, **values: Any) -> int:  # noqa: ANN401 - click gives them by name
    """Build an image from a Dockerfile.

    PATH is the directory that COPY and ADD read from. Base images that are eStargz are mounted
    lazily; every layer of the result is eStargz, its files in the order in which they are wanted.
    """
    dialect.settle(values, lambda text: click.echo(f"WARNING: {text}", err=True))
    quiet = values.pop("quiet")
    mode = "quiet" if quiet else values.pop("progress")
    values.pop("progress", None)
    iidfile, metadata_file = values.pop("iidfile"), values.pop("metadata_file")
    timeout = values.pop("timeout")
    logfile, choice = values.pop("logfile"), values.pop("on_failure") or ""
    method, form = asked_method(values)
    request = request_of(context, values)
    if method != "build":
        from lazybuild.cli import check  # noqa: PLC0415 - builds don't need it

        return check.answer(request, method, json=form == "json")
    view = views.logged(views.open_view(debug.plain_mode(mode, choice)), logfile)
    with stopping.limited(durations.seconds(timeout, "--timeout") if timeout else 0.0, timeout):
        result = build_shown(request, view, choice)
    if iidfile:
        Path(iidfile).write_text(result.config_digest)
    if metadata_file:
        summary.write_metadata(metadata_file, result)
    click.echo(result.digest if quiet else summary.last_line(result), err=not quiet)
    return 0


def build_shown(request: BuildRequest, view: views.View, on_failure: str = "") -> BuildResult:
    """Build with a view of the progress; a failure is shown with its step and raised as a code."""
    from lazybuild.build.run import build  # noqa: PLC0415 - the whole engine, not for --help

    shell = debug.Shell(view)
    request = replace(request, on_failure=debug.on_failure(on_failure, shell))
    with stopping.armed(request.stop):
        try:
            result = build(request, shell)
        except LazybuildError as error:
            view.close()
            failure.show(error, sys.stderr, views.failed_step(view))
            raise click.exceptions.Exit(failure.exit_code(error)) from error
        except BaseException:
            view.close()
            raise
    view.close()
    return result


def request_of(context: str, values: dict[str, Any]) -> BuildRequest:
    """The request that the flags ask for."""
    given = dict(values)
    registries = config.registries(given)
    stdin = standard_input(context, given["file"])
    arguments = read_files(given["build_arg_file"])
    arguments |= config.assignments(given["build_arg"], "--build-arg", from_environment=True)
    epoch = dated(arguments, given["source_date_epoch"])
    return BuildRequest(
        root=config.store_root(given["root"]),
        context=context,
        dockerfile=given["file"],
        frontend=given["frontend"],
        stdin=stdin,
        tags=tuple(given["tag"]),
        target=given["target"],
        platforms=tuple(name for text in given["platform"] for name in text.split(",")),
        build_args=arguments,
        build_contexts=config.assignments(
            given["build_context"], "--build-context", from_environment=False
        ),
        labels=config.assignments(given["label"], "--label", from_environment=False),
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
        shm_size=config.size(given["shm_size"], "--shm-size") if given["shm_size"] else 0,
        ulimits=tuple(given["ulimit"]),
        allow=tuple(given["allow"]),
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
        keep_storage=config.size(given["keep_storage"], "--keep-storage")
        if given["keep_storage"]
        else 0,
        registries=registries,
        builders=builders.of(given),
    )


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


def read_files(names: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE lines; blank lines and lines that begin with # are left out."""
    found: dict[str, str] = {}
    for name in names:
        lines = Path(name).read_text().splitlines()
        wanted = tuple(line for line in lines if line.strip() and not line.startswith("#"))
        found |= config.assignments(wanted, f"--build-arg-file {name}", from_environment=True)
    return found


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
