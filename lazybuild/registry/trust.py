"""Which place may be followed, and which may see a credential. Pure.

A registry is trusted with its own credentials and with nothing else.
Rules: rootless-builder threat list, "Registry and auth": redirects, realms, upload locations.
"""

import ipaddress
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_PORTS: Final = MappingProxyType({"http": 80, "https": 443})

# Token services that stand elsewhere than their registry.
KNOWN_REALMS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "docker.io": frozenset({"auth.docker.io"}),
        "registry-1.docker.io": frozenset({"auth.docker.io"}),
        "registry.gitlab.com": frozenset({"gitlab.com"}),
        "docker.elastic.co": frozenset({"docker-auth.elastic.co"}),
        "registry.redhat.io": frozenset({"sso.redhat.com"}),
        "nvcr.io": frozenset({"authn.nvidia.com"}),
    }
)

# Under these names strangers own the neighbouring host.
_SHARED_SUFFIXES: Final = frozenset(
    {
        "amazonaws.com",
        "azurecr.io",
        "azurewebsites.net",
        "azurecontainer.io",
        "cloudfront.net",
        "co.jp",
        "co.kr",
        "co.nz",
        "co.uk",
        "co.za",
        "com.au",
        "com.br",
        "com.cn",
        "com.tr",
        "dedyn.io",
        "duckdns.org",
        "fly.dev",
        "github.io",
        "gitlab.io",
        "herokuapp.com",
        "jfrog.io",
        "ngrok.io",
        "ngrok-free.app",
        "nip.io",
        "ocir.io",
        "on.aws",
        "onrender.com",
        "org.uk",
        "pages.dev",
        "pkg.dev",
        "run.app",
        "sslip.io",
        "traefik.me",
        "vercel.app",
        "web.app",
        "workers.dev",
    }
)


class NotTrustedError(Exception):
    """A place that must not be followed. The message is fit to be shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Scheme, host and port: the unit to which a credential is bound."""

    scheme: str
    host: str
    port: int


def origin(url: str) -> Origin:
    """Raises NotTrustedError for anything but a plain http or https URL."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise NotTrustedError("a malformed URL") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise NotTrustedError("neither an http nor an https URL")
    if parts.username is not None or parts.password is not None:
        raise NotTrustedError("a URL with a user in it")
    return Origin(scheme=parts.scheme, host=parts.hostname, port=port or _PORTS[parts.scheme])


def follow(current: str, location: str) -> str:
    """The URL that a redirect or an upload location leads to; NotTrustedError if it must not."""
    if not location:
        raise NotTrustedError("no Location given")
    if any(ord(c) <= ord(" ") or ord(c) == 0x7F for c in location):  # noqa: PLR2004  # DEL
        raise NotTrustedError("a Location with blanks or control characters")
    try:
        there = urllib.parse.urljoin(current, location)
    except ValueError as error:
        raise NotTrustedError("a malformed Location") from error
    here, target = origin(current), origin(there)
    if here.scheme == "https" and target.scheme != "https":
        raise NotTrustedError("it leads from https to http")
    if target != here and _is_link_local(target.host):
        raise NotTrustedError("it leads to a link-local address")
    return urllib.parse.urldefrag(there).url


def realm_allowed(registry_url: str, realm: str) -> bool:
    """May this token service be asked at all, by whomever?"""
    try:
        here, there = origin(registry_url), origin(realm)
    except NotTrustedError:
        return False
    if here == there:
        return True
    if there.scheme != "https":
        return here.scheme == "http" and here.host == there.host and is_loopback(here.host)
    return there.host == here.host or not is_address(there.host)


def realm_trusted(registry: str, registry_url: str, realm: str, extra: frozenset[str]) -> bool:
    """May this token service see the credentials for `registry` (a key such as "docker.io")?"""
    if not realm_allowed(registry_url, realm):
        return False
    here, there = origin(registry_url), origin(realm)
    known = KNOWN_REALMS.get(registry, frozenset()) | extra
    return there.host == here.host or there.host in known or _same_site(here.host, there.host)


def is_loopback(host: str) -> bool:
    """`host` without port; names under .localhost count too."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def split_port(netloc: str) -> tuple[str, str]:
    """Host and port of `host:5000`, `[::1]:5000` or `host`."""
    host, colon, port = netloc.rpartition(":")
    if colon and port.isascii() and port.isdigit():
        return host, port
    return netloc, ""


def _same_site(registry: str, realm: str) -> bool:
    """One is below the other, or both are below the registry's parent, which nobody shares."""
    if is_address(registry) or is_address(realm):
        return False
    if realm.endswith("." + registry):
        return True
    parent = registry.partition(".")[2]
    if "." not in parent or parent in _SHARED_SUFFIXES:
        return False
    return realm == parent or realm.endswith("." + parent)


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host.isdigit() or host.startswith("0x")  # "2130706433" is 127.0.0.1 to a resolver
    return True


def _is_link_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False
