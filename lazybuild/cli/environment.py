"""The variables that docker, buildx and buildah listen to, and what they mean here.

Those of registries are in `lazybuild.registry`, of the store in `config`, of the view in `views`.
"""

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lazybuild.errors import UsageError

POLICY = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"
REVISION = "org.opencontainers.image.revision"
SOURCE = "org.opencontainers.image.source"
ENTRYPOINT = "com.docker.image.source.entrypoint"
LOG_LINES = 6
COLOURS = ("run", "cancel", "error", "warning")
_RGB, _BYTE = "rgb", 256
TRUE = ("1", "true", "yes", "on")


def check(warn: Callable[[str], None]) -> None:
    """Say what is set and can't be had: warn where nothing is missed, refuse where it would be."""
    if os.environ.get(POLICY):
        raise UsageError(f"${POLICY} is not supported", hint=f"unset {POLICY}")
    if os.environ.get("DOCKER_BUILDKIT") in ("0", "false"):
        warn("DOCKER_BUILDKIT=0: there is no other builder here")


def platforms() -> tuple[str, ...]:
    name = os.environ.get("DOCKER_DEFAULT_PLATFORM", "")
    return (name,) if name else ()


def isolation() -> str:
    return os.environ.get("BUILDAH_ISOLATION", "")


def warnings() -> bool:
    """Whether the metadata shall hold the warnings of the build."""
    return os.environ.get("BUILDX_METADATA_WARNINGS", "").lower() in TRUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a terminal is drawn on: lines of output below a step, and styles by what they are for."""

    log_lines: int = LOG_LINES
    colours: Mapping[str, str] = field(default_factory=dict)


def look() -> Look:
    """BUILDKIT_TTY_LOG_LINES, and BUILDKIT_COLORS in BuildKit's form: `run=green:error=255,0,0`."""
    text = os.environ.get("BUILDKIT_TTY_LOG_LINES", "")
    if text and not text.isdecimal():
        raise UsageError(f"$BUILDKIT_TTY_LOG_LINES={text!r}: not a number of lines")
    pairs = [pair.partition("=") for pair in os.environ.get("BUILDKIT_COLORS", "").split(":")]
    return Look(
        log_lines=int(text) if text else LOG_LINES,
        colours={
            name: _style(value) for name, equals, value in pairs if equals and name in COLOURS
        },
    )


def _style(value: str) -> str:
    """A name of a colour, or its three parts."""
    parts = value.split(",")
    return f"rgb({value})" if len(parts) == len(_RGB) and all(map(_is_byte, parts)) else value


def _is_byte(text: str) -> bool:
    return text.isdecimal() and int(text) < _BYTE


def labels(context: str, dockerfile: str) -> dict[str, str]:
    """What BUILDX_GIT_LABELS (1 or full) wants to know of the repository that the context is in."""
    wanted = os.environ.get("BUILDX_GIT_LABELS", "").lower()
    if wanted not in (*TRUE, "full") or not Path(context).is_dir():
        return {}
    revision = _git(context, "rev-parse", "HEAD")
    if not revision:
        return {}
    dirty = "-dirty" if _git(context, "status", "--porcelain", "--ignored=no") else ""
    found = {REVISION: revision + dirty}
    top = _git(context, "rev-parse", "--show-toplevel")
    file = Path(dockerfile or Path(context) / "Dockerfile").resolve()
    if file.is_relative_to(top):
        found[ENTRYPOINT] = file.relative_to(top).as_posix()
    origin = _git(context, "remote", "get-url", "origin") if wanted == "full" else ""
    return found | ({SOURCE: _without_user(origin)} if origin else {})


def _git(place: str, *words: str) -> str:
    """What git says, "" when it is not there or has nothing to say."""
    command = ["git", "-C", place, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if not done.returncode else ""


def _without_user(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else url
