"""Which proxy a URL goes through, by the usual variables. Pure; loopback is never proxied."""

import base64
import urllib.parse
from collections.abc import Callable, Mapping

from lazybuild.registry.trust import is_loopback, split_port


def choose_proxy(environ: Mapping[str, str]) -> Callable[[str], str]:
    """A function from a URL to its proxy's URL, or "". Lower-case names win, as everywhere."""
    by_scheme = {
        scheme: _value(environ, f"{scheme}_proxy") or _value(environ, "all_proxy")
        for scheme in ("http", "https")
    }
    exempt = [name.strip().lower() for name in _value(environ, "no_proxy").split(",")]

    def proxy_for(url: str) -> str:
        parts = urllib.parse.urlsplit(url)
        proxy = by_scheme.get(parts.scheme, "")
        if not proxy or is_loopback(parts.hostname or "") or _exempted(parts.netloc, exempt):
            return ""
        return proxy if "://" in proxy else f"http://{proxy}"

    return proxy_for


def authorization(proxy: str) -> dict[str, str]:
    """The header that tells a proxy who asks, if its URL has a name and a password (RFC 7617)."""
    parts = urllib.parse.urlsplit(proxy)
    if not parts.username:
        return {}
    pair = f"{parts.username}:{parts.password or ''}"
    encoded = base64.b64encode(urllib.parse.unquote_to_bytes(pair)).decode()
    return {"Proxy-Authorization": f"Basic {encoded}"}


def _value(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "") or environ.get(name.upper(), "")


def _exempted(netloc: str, exempt: list[str]) -> bool:
    host = split_port(netloc)[0].strip("[]").lower()
    for name in filter(None, exempt):
        plain = name.removeprefix("*").removeprefix(".")
        if name == "*" or netloc.lower() == name or host == plain or host.endswith("." + plain):
            return True
    return False
