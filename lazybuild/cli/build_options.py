"""The flags of `lazybuild build`: those of docker and buildx that mean something here, and our own.

What others have and we have not is in `dialect`.
"""

import os
from collections.abc import Callable
from typing import Any

import click

from lazybuild.cli import config, debug, dialect, environment, views


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
    _one("--ignorefile", metavar="FILE", text="Patterns to use instead of .dockerignore."),
    _many("--build-context", metavar="NAME=SOURCE", text="Another context by name."),
    click.option(
        "--platform",
        multiple=True,
        default=environment.platforms,
        metavar="OS/ARCH",
        help="Platform of the result (or $DOCKER_DEFAULT_PLATFORM).",
    ),
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
        type=click.Choice(["always", "missing", "newer", "never", "true", "false"]),
        help="Ask registries for base images even if the store has them; never asks for nothing.",
    ),
    _one("--network", metavar="MODE", text="Network of RUN: default, host or none."),
    _many("--add-host", metavar="HOST:IP", text="Line of /etc/hosts in RUN."),
    _one("--shm-size", metavar="SIZE", text="Size of /dev/shm in RUN."),
    _many("--ulimit", metavar="NAME=SOFT[:HARD]", text="Limit of RUN."),
    _many("--allow", metavar="ENTITLEMENT", text="Allow network.host."),
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
    click.option(
        "--isolation",
        default=environment.isolation,
        metavar="TIER",
        help="Force a tier (T1, T2, ...); see doctor.",
    ),
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
    _one(
        "--iidfile",
        metavar="FILE",
        text="Write there the image ID: the digest of the config, or of an index.",
    ),
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
    _flag("-D", "--debug", text="Show where in lazybuild an error comes from."),
    _flag("-q", "--quiet", text="Print the image ID only, which --iidfile has too."),
]


def with_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed([*OPTIONS, *dialect.options()]):
        function = option(function)
    return function
