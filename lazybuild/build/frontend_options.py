"""A request in the words that a frontend is told it in: the options of BuildKit's frontends. Pure.

Names: moby/buildkit frontend/dockerui/config.go and docs/reference/buildctl.md.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import PurePath

from lazybuild.build import translate
from lazybuild.build.inputs import MAIN, Inputs
from lazybuild.dockerfile.syntax import Frontend
from lazybuild.errors import UsageError
from lazybuild.request import ALL_STAGES, BuildRequest, Pull

LOCAL = "dockerfile"
"""The name of the directory that holds nothing but the Dockerfile and its ignore file."""

CONTEXTS = "moby.buildkit.frontend.contexts"
MODES = {Pull.ALWAYS: "pull", Pull.NEVER: "local"}
MAX_DIGITS = 19
SUBREQUESTS = "moby.buildkit.frontend.subrequests"


def options(
    request: BuildRequest, given: Inputs, frontend: Frontend, question: str = ""
) -> Mapping[str, str]:
    """Empty ones are left out. `question` is what is asked about the build that it would be."""
    needed = {f"{CONTEXTS}+forward": given.contexts, SUBREQUESTS: question}
    found = {
        "source": frontend.image,
        "cmdline": frontend.line,
        "filename": filename(given),
        "target": request.target,
        "platform": ",".join(request.platforms),
        "add-hosts": _row("=".join(translate.add_host(text)) for text in request.add_hosts),
        "ulimit": _row(request.ulimits),
        "shm-size": str(request.shm_size or ""),
        "force-network-mode": request.network if request.network != "default" else "",
        "image-resolve-mode": MODES.get(request.pull, ""),
        "requestid": question,
        "frontend.caps": ",".join(name for name, wanted in needed.items() if wanted),
        **_context(given),
        **{f"build-arg:{name}": value for name, value in request.build_args.items()},
        **{f"label:{name}": value for name, value in request.labels.items()},
        **{f"context:{name}": value for name, value in given.contexts.items()},
    }
    kept = {name: value for name, value in found.items() if value or ":" in name}
    if request.no_cache:
        kept["no-cache"] = "" if request.no_cache == ALL_STAGES else ",".join(request.no_cache)
    return kept


def request_of(request: BuildRequest, told: Mapping[str, str]) -> BuildRequest:
    """The inverse: the request with what the options say in the place of what it said itself."""
    no_cache = told.get("no-cache")
    return replace(
        request,
        dockerfile=told.get("filename") or "Dockerfile",
        target=told.get("target", ""),
        platforms=tuple(name for name in told.get("platform", "").split(",") if name),
        add_hosts=_words(told.get("add-hosts", "")),
        ulimits=_words(told.get("ulimit", "")),
        shm_size=_number("shm-size", told.get("shm-size", "")),
        network=told.get("force-network-mode", ""),
        build_args=_below(told, "build-arg:"),
        labels=_below(told, "label:"),
        build_contexts=_below(told, "context:"),
        no_cache=() if no_cache is None else tuple(no_cache.split(",")) if no_cache else ALL_STAGES,
    )


def _below(told: Mapping[str, str], prefix: str) -> Mapping[str, str]:
    found = {name: value for name, value in told.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): value for name, value in found.items()}


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(word for row in csv.reader([text], strict=True) for word in row if word)
    except csv.Error as error:
        raise UsageError(f"{text[:200]!r} is not a list: {error}") from error


def _number(name: str, text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < MAX_DIGITS):
        raise UsageError(f"{name}: {text[:80]!r} is not a number")
    return int(text or 0)


def filename(given: Inputs) -> str:
    """As it is called in the directory that a frontend gets; what came without a name has one."""
    if given.path == "-" or "://" in given.path:
        return "Dockerfile"
    return PurePath(given.path).name if has_own_file(given) else given.path


def has_own_file(given: Inputs) -> bool:
    """Whether the Dockerfile is given beside the context, and not read out of a remote one."""
    return given.context.startswith("local:") or given.apart


def _context(given: Inputs) -> Mapping[str, str]:
    """A context that is no directory: its URL; `Inputs` of the protocol gives what has none."""
    if given.context.startswith("local:"):
        return {}
    apart = {"dockerfilekey": LOCAL} if given.apart else {}
    return apart if given.context.startswith("input:") else {MAIN: given.context, **apart}


def _row(words: Iterable[str]) -> str:
    """As one line of CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(list(words))
    return out.getvalue()
