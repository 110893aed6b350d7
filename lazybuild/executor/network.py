"""resolv.conf and hosts of a step, as text. They are mounted, so they never land in a layer.

With the host's network the host's resolv.conf is right as it is: its stub resolver on loopback
answers. Reads one file of the host, `HOST_RESOLV_CONF`.
"""

import ipaddress
from collections.abc import Iterable
from pathlib import Path

from lazybuild.errors import BuildError

HOST_RESOLV_CONF = Path("/etc/resolv.conf")
MAX_FILE = 1024 * 1024


def hosts(hostname: str, extra: Iterable[tuple[str, str]] = ()) -> bytes:
    """/etc/hosts; `extra` are pairs of a name and an address, or "host-gateway"."""
    _check_name(hostname)
    lines = [f"127.0.0.1\tlocalhost {hostname}", "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines += [f"{_address(name, address)}\t{name}" for name, address in extra]
    return "".join(line + "\n" for line in lines).encode()


def _check_name(name: str) -> None:
    if not name or not name.isprintable() or any(char.isspace() for char in name):
        raise BuildError(f"{name!r} can't be a host name")


def _address(name: str, address: str) -> str:
    _check_name(name)
    if address == "host-gateway":  # the step shares the host's network: the host is loopback
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(address.strip("[]")))
    except ValueError:
        raise BuildError(f"{address!r} of host {name} is not an IP address") from None


def resolv_conf(source: Path = HOST_RESOLV_CONF) -> bytes:
    try:
        with source.open("rb") as file:
            return file.read(MAX_FILE)
    except OSError:  # a host without one resolves by its libc's default; so does the step
        return b""
