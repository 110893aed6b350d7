"""`# syntax=`: which frontends this compiler stands in for. Pure.

The reference would fetch the image and hand the whole build over to it. This compiler is the
Dockerfile frontend itself, so it goes on where the Dockerfile frontend (any channel, any version)
or its own image is named, and refuses everything else instead of guessing what it would do.
"""

from collections.abc import Mapping

from lazybuild.dockerfile.nodes import Document
from lazybuild.errors import NotSupportedYetError, UsageError
from lazybuild.oci import reference

ARGUMENT = "BUILDKIT_SYNTAX"
BUILT_IN = "dockerfile.v0"
OWN_NAME = "lazybuild-frontend"
"""The last part of the name of our own frontend image, wherever it is kept."""

_DOCKERFILE = frozenset({"docker/dockerfile", "docker/dockerfile-upstream"})


def require_known_syntax(document: Document, build_args: Mapping[str, str]) -> None:
    """Fails where the file, or the build argument that stands in for it, names another frontend."""
    given = build_args.get(ARGUMENT, "").partition(" ")[0]
    name = given or document.directives.syntax
    if not name or name == BUILT_IN or is_dockerfile_frontend(name):
        return
    raise NotSupportedYetError(
        f"the frontend {name} is not supported yet",
        span=None if given else document.directives.syntax_span,
        source=document.source,
        hint="docker/dockerfile is built in; other frontends need BuildKit",
    )


def is_dockerfile_frontend(name: str) -> bool:
    try:
        parsed = reference.parse(name)
    except UsageError:
        return False
    last = parsed.repository.rpartition("/")[2]
    return parsed.repository in _DOCKERFILE or last == OWN_NAME
