"""`# syntax=`: which frontends this compiler stands in for, and which image else is meant. Pure.

The reference would fetch the image and hand the whole build over to it. This compiler is the
Dockerfile frontend itself, so it goes on where the Dockerfile frontend (any channel, any version)
or its own image is named: the same language, without an image to fetch. Any other name is an image
to be run, and so is whichever one the user insists on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lazybuild.dockerfile.characters import decode
from lazybuild.dockerfile.directives import find, first_word
from lazybuild.errors import NotSupportedYetError, Span, UsageError
from lazybuild.oci import reference

ARGUMENT = "BUILDKIT_SYNTAX"
BUILT_IN = "dockerfile.v0"
OWN_NAME = "lazybuild-frontend"
"""The last part of the name of our own frontend image, wherever it is kept."""

_DOCKERFILE = frozenset({"docker/dockerfile", "docker/dockerfile-upstream"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontend:
    """An image that is to compile the build. `line` is all that was said, words for it included;
    `span` where, unless a flag or an argument said it.
    """

    image: str
    line: str
    span: Span | None = None

    def refused(self, what: str, source: str) -> NotSupportedYetError:
        """Why `what` can't be done with it."""
        return NotSupportedYetError(
            f"{what} with the frontend {self.image} is not supported yet",
            span=self.span,
            source=source if self.span else "",
            hint=f"--frontend {BUILT_IN} takes the file for a Dockerfile",
        )


def foreign(
    data: bytes, path: str, build_args: Mapping[str, str], chosen: str = ""
) -> Frontend | None:
    """The frontend that a file, or the build argument that stands in for its line, names; None for
    this compiler. `chosen` is what the user insists on.
    """
    if chosen:
        return None if chosen == BUILT_IN else Frontend(image=chosen, line=chosen)
    if given := build_args.get(ARGUMENT, ""):
        return _unless_built_in(given.partition(" ")[0], given, None)
    found = find("syntax", decode(data), path, any_format=True)
    if found is None:
        return None
    return _unless_built_in(first_word(found), found.value, found.span)


def _unless_built_in(name: str, line: str, span: Span | None) -> Frontend | None:
    if not name or name == BUILT_IN or is_dockerfile_frontend(name):
        return None
    return Frontend(image=name, line=line, span=span)


def is_dockerfile_frontend(name: str) -> bool:
    try:
        parsed = reference.parse(name)
    except UsageError:
        return False
    last = parsed.repository.rpartition("/")[2]
    return parsed.repository in _DOCKERFILE or last == OWN_NAME
