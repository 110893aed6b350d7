"""Durations and sizes in Go's spelling: `1h30m`, `500ms`, `64m`. Pure."""

import re
from decimal import Decimal

_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION = re.compile(r"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d*)?|\.\d+) ?([kmgtp]?)i?b?", re.ASCII | re.IGNORECASE)
_LIMIT = 2**63 - 1


def nanoseconds(text: str) -> int:
    """A duration as time.ParseDuration reads it. Raises ValueError."""
    if text in {"0", "+0", "-0"}:
        return 0
    if not _DURATION.fullmatch(text):
        raise ValueError(f"invalid duration {text!r}")
    total = sum(int(Decimal(number) * _UNITS[unit]) for number, unit in _PART.findall(text))
    if total > _LIMIT:
        raise ValueError(f"invalid duration {text!r}")
    return -total if text.startswith("-") else total


def size_bytes(text: str) -> int:
    """Bytes of a size with a binary unit, as docker's go-units reads it. Raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"invalid size: {text!r}")
    power = "kmgtp".find(match[2].lower()) + 1 if match[2] else 0
    total = int(Decimal(match[1]) * 1024**power)
    if total > _LIMIT:
        raise ValueError(f"invalid size: {text!r}")
    return total


def spell(duration: int) -> str:
    """A duration as Go prints it: `1m30s`, `1.5s`, `250ms`, `0s`."""
    if not duration:
        return "0s"
    sign, rest = ("-", -duration) if duration < 0 else ("", duration)
    for unit, scale in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if rest < scale * 1000:
            return f"{sign}{_decimal(rest, scale)}{unit}"
    hours, rest = divmod(rest, _UNITS["h"])
    minutes, rest = divmod(rest, _UNITS["m"])
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{head}{_decimal(rest, 10**9)}s"


def _decimal(value: int, scale: int) -> str:
    whole, fraction = divmod(value, scale)
    digits = f"{fraction:0{len(str(scale)) - 1}d}".rstrip("0") if scale > 1 else ""
    return f"{whole}.{digits}" if digits else str(whole)
