"""From a repository's full name to the places that serve it: mirrors first, the origin last.

Values and one look-up over the rules that `mirrors` reads from registries.conf and hosts.toml.
Plain HTTP is spoken only with loopback hosts and hosts named as insecure.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lazybuild.errors import RegistryError, UsageError
from lazybuild.registry.credentials import DOCKER_HUB
from lazybuild.registry.redact import printable
from lazybuild.registry.trust import is_address, is_loopback, split_port

_HUB_HOST: Final = "registry-1.docker.io"
_HUB_NAMES: Final = frozenset({DOCKER_HUB, "index.docker.io", _HUB_HOST})
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?"
)
_PART: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_NAME_LIMIT: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One place that serves one repository. `schemes` in the order in which they are tried.

    `registry` is the key of its credentials. `namespace` is the registry it mirrors, if any.
    """

    host: str
    repository: str
    registry: str
    schemes: tuple[str, ...] = ("https",)
    verify: bool = True
    base: str = "/v2"
    namespace: str = ""
    authorities: tuple[str, ...] = ()  # files of certificates, from hosts.toml
    client_certificates: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.host}/{self.repository}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A host of a rule: where the repositories of the rule's prefix are found there.

    `location` replaces the prefix, e.g. "mirror:5000/hub". Capabilities: pull, resolve, push.
    """

    location: str
    schemes: tuple[str, ...] = ()
    insecure: bool = False
    capabilities: frozenset[str] = frozenset({"pull", "resolve"})
    base: str = "/v2"
    namespaced: bool = False
    authorities: tuple[str, ...] = ()
    client_certificates: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is configured for a prefix of names: "host", "host/path" or "*.domain"."""

    prefix: str
    origin: Place | None = None
    mirrors: tuple[Place, ...] = ()
    blocked: bool = False
    source: str = ""


class Hosts:
    """All rules and the insecure hosts ("*" is every host). Immutable after construction."""

    def __init__(self, rules: Sequence[Rule] = (), insecure: frozenset[str] = frozenset()) -> None:
        self._rules = sorted(rules, key=lambda rule: -len(rule.prefix))
        self._insecure = insecure

    def pull(self, name: str, *, by_digest: bool = True) -> tuple[Endpoint, ...]:
        """Where to ask for `name` ("host/repository"), in order."""
        host, repository = split_name(name)
        rule = self._rule(host, repository)
        if rule is None:
            return (self._plain(host, repository),)
        need = "pull" if by_digest else "resolve"
        mirrors = [
            self._at(place, rule, host, repository, namespace=host)
            for place in rule.mirrors
            if need in place.capabilities
        ]
        return (*mirrors, self._origin(rule, host, repository))

    def push(self, name: str) -> Endpoint:
        """The one place that takes what is pushed to `name`."""
        host, repository = split_name(name)
        rule = self._rule(host, repository)
        return self._origin(rule, host, repository) if rule else self._plain(host, repository)

    def _rule(self, host: str, repository: str) -> Rule | None:
        """The rule with the longest matching prefix. Raises RegistryError if it blocks."""
        for rule in self._rules:
            if _matches(rule.prefix, host, f"{_canonical(host)}/{repository}"):
                if rule.blocked:
                    raise RegistryError(f"{host}/{repository} is blocked by {rule.source}")
                return rule
        return None

    def _origin(self, rule: Rule, host: str, repository: str) -> Endpoint:
        if rule.origin is None:
            return self._plain(host, repository)
        return self._at(rule.origin, rule, host, repository, namespace="")

    def _at(
        self, place: Place, rule: Rule, host: str, repository: str, *, namespace: str
    ) -> Endpoint:
        rest = f"{_canonical(host)}/{repository}"
        if not rule.prefix.startswith("*."):
            rest = rest[len(rule.prefix) :].lstrip("/")
        else:
            rest = repository
        there, path = split_name(f"{place.location}/{rest}".rstrip("/"))
        plain = self._plain(there, path, insecure=place.insecure)
        return Endpoint(
            host=plain.host,
            repository=plain.repository,
            registry=plain.registry,
            schemes=place.schemes or plain.schemes,
            verify=plain.verify,
            base=place.base,
            namespace=namespace if place.namespaced else "",
            authorities=place.authorities,
            client_certificates=place.client_certificates,
            headers=place.headers,
        )

    def _plain(self, host: str, repository: str, *, insecure: bool = False) -> Endpoint:
        name = split_port(host)[0]
        insecure = insecure or bool({host, name, "*"} & self._insecure)
        schemes: tuple[str, ...] = ("https",)
        if is_loopback(name):
            schemes = ("http", "https")
        elif insecure:
            schemes = ("https", "http")
        hub = host in _HUB_NAMES
        return Endpoint(
            host=_HUB_HOST if hub else host,
            repository=repository,
            registry=DOCKER_HUB if hub else host,
            schemes=schemes,
            verify=not insecure,
        )


def split_name(name: str) -> tuple[str, str]:
    """`host:port/repository` into its two parts, both checked. Raises UsageError."""
    host, _, repository = name.partition("/")
    if (
        not _is_host(host)
        or not repository
        or len(name) > _NAME_LIMIT
        or not all(_PART.fullmatch(part) for part in repository.split("/"))
    ):
        raise UsageError(f"{printable(name)!r} is not the name of a repository (host/path)")
    return host.lower(), repository


def _is_host(netloc: str) -> bool:
    host, port = split_port(netloc)
    if not _HOST.fullmatch(netloc) or int(port or 1) not in range(1, 65536):
        return False
    return not host.startswith("[") or (":" in host and is_address(host.strip("[]")))


def _canonical(host: str) -> str:
    return DOCKER_HUB if host in _HUB_NAMES else host


def _matches(prefix: str, host: str, name: str) -> bool:
    if prefix.startswith("*."):
        return host.endswith(prefix[1:])
    return name == prefix or name.startswith(prefix + "/")
