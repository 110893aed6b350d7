"""Image references: the grammar of distribution/reference, checked before anything uses one. Pure.

A `Reference` is always full: `debian` becomes docker.io/library/debian:latest. Repository and tag
can't hold a `..` part or an upper-case letter where the grammar has none, so they are safe in URLs
and as annotation values.
"""

import re
from dataclasses import dataclass, replace

from lazybuild.errors import UsageError
from lazybuild.oci import digest as digests
from lazybuild.oci.digest import Digest

DOCKER_HUB = "docker.io"
MAX_NAME = 255

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?\Z")
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*\Z")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}\Z")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A repository and what to take from it; with a digest the tag is only a comment."""

    registry: str
    repository: str
    tag: str = ""
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """The full repository name, `host[:port]/path`."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar(self) -> str:
        """As people write it: without docker.io and library/."""
        if self.registry != DOCKER_HUB:
            return str(self)
        short = self.repository.removeprefix("library/")
        if "/" not in short:
            return self._suffixed(short)
        ambiguous = _is_domain(self.repository.partition("/")[0])
        return str(self) if ambiguous else self._suffixed(self.repository)

    def __str__(self) -> str:
        return self._suffixed(self.name)

    def _suffixed(self, name: str) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return name + tag + (f"@{self.digest}" if self.digest else "")

    def pinned(self, digest: Digest) -> "Reference":
        return replace(self, digest=digest)

    def tagged(self, tag: str) -> "Reference":
        return replace(self, tag=_checked(_TAG, tag, "tag", tag), digest=None)


def parse(text: str, *, default_tag: str = "latest") -> Reference:
    """Read a reference as the docker commands do. Raises UsageError, which says what is wrong."""
    name, at, digest = text.partition("@")
    pinned = _digest(digest, text) if at else None
    name, tag = _split_tag(name)
    if tag is not None:
        _checked(_TAG, tag, "tag", text)
    registry, repository = _split_domain(name)
    _check_name(registry, repository, text)
    fallback = "" if pinned else default_tag
    return Reference(
        registry=registry,
        repository=repository,
        tag=fallback if tag is None else tag,
        digest=pinned,
    )


def _digest(digest: str, text: str) -> Digest:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise _bad(text, f"{digest[:80]!r} is not a sha256 digest")
    return digests.parse(digest)


def _split_tag(name: str) -> tuple[str, str | None]:
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag and head else (name, None)


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    has_domain = bool(slash) and _is_domain(first)
    registry, repository = (first, rest) if has_domain else (DOCKER_HUB, name)
    if registry == "index.docker.io":
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository


def _is_domain(part: str) -> bool:
    return "." in part or ":" in part or part == "localhost" or part.lower() != part


def _check_name(registry: str, repository: str, text: str) -> None:
    _checked(_DOMAIN, registry, "registry", text)
    path = repository.removeprefix("library/") if registry == DOCKER_HUB else repository
    if _IDENTIFIER.match(path):
        raise _bad(text, "64 hex digits are an image ID, not a name")
    if path != path.lower():
        raise _bad(text, "a repository name is lower case")
    _checked(_PATH, path, "repository", text)
    if len(registry) + 1 + len(repository) > MAX_NAME:
        raise _bad(text, f"a name has at most {MAX_NAME} characters")


def _checked(pattern: re.Pattern[str], part: str, what: str, text: str) -> str:
    if not pattern.match(part):
        raise _bad(text, f"{part[:80]!r} can't be a {what}")
    return part


def _bad(text: str, why: str) -> UsageError:
    return UsageError(f"invalid image reference {text[:300]!r}: {why}")
