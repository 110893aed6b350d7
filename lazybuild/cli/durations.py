"""Durations as people write them: 90s, 15m, 24h, 7d, 1h30m. Pure."""

import re

from lazybuild.errors import UsageError

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhdw])")


def seconds(text: str, flag: str) -> float:
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(f"{flag} {text!r}: not a duration such as 24h or 7d")
    return sum(float(number) * UNITS[unit] for number, unit in parts)
