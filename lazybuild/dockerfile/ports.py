"""EXPOSE: `[ip:][host:]port[-port][/proto]` as `port/proto` keys. Pure."""

import ipaddress

_PROTOCOLS = frozenset({"tcp", "udp", "sctp"})
_LAST = 65535


def expand_port(text: str) -> tuple[str, ...]:
    """Every `port/proto` that one argument means. Raises ValueError with the reason."""
    ip, host, container = _split(text)
    ports, _, protocol = container.partition("/")
    if not ports:
        raise ValueError(f'invalid port: "{text}": no port specified')
    if protocol and protocol.lower() not in _PROTOCOLS:
        raise ValueError(f'invalid port: "{text}": invalid proto: {protocol}')
    _check_ip(ip)
    first, last = _range(ports, "containerPort")
    if host:
        _check_host(host, first, last, ports)
    return tuple(f"{port}/{(protocol or 'tcp').lower()}" for port in range(first, last + 1))


def _split(text: str) -> tuple[str, str, str]:
    *rest, container = text.split(":")
    host = rest.pop() if rest else ""
    return ":".join(rest), host, container


def _check_ip(ip: str) -> None:
    if not ip:
        return
    try:
        ipaddress.ip_address(ip.removeprefix("[").removesuffix("]"))
    except ValueError as error:
        raise ValueError(f"invalid IP address: {ip}") from error


def _range(text: str, what: str) -> tuple[int, int]:
    start, dash, end = text.partition("-")
    numbers = [_number(part, text, what) for part in ((start, end) if dash else (start,))]
    if numbers[-1] < numbers[0]:
        raise ValueError(f"invalid {what}: {text}")
    return numbers[0], numbers[-1]


def _number(part: str, text: str, what: str) -> int:
    if not (part.isascii() and part.isdigit()) or len(part) > len(text) or int(part) > _LAST:
        raise ValueError(f"invalid {what}: {text}")
    return int(part)


def _check_host(host: str, first: int, last: int, ports: str) -> None:
    low, high = _range(host, "hostPort")
    if last - first not in {0, high - low}:
        raise ValueError(
            f"invalid ranges specified for container and host Ports: {ports} and {host}"
        )
