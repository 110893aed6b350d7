"""Times of images: RFC 3339 text as Go writes it, and nanoseconds since the epoch. Pure."""

import re
from datetime import UTC, datetime, timedelta

from lazybuild.errors import IntegrityError

_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-]\d\d:\d\d))\Z",
    re.ASCII,
)


def format_ns(ns: int) -> str:
    """RFC3339Nano in UTC: a fraction without trailing zeros, none when it is zero."""
    seconds, fraction = divmod(ns, _SECOND)
    try:
        when = _EPOCH + timedelta(seconds=seconds)
    except OverflowError as error:
        raise IntegrityError(f"{ns} ns is no time that a calendar has") from error
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{when.year:04d}-{when:%m-%dT%H:%M:%S}{digits}Z"


def parse_ns(text: str) -> int:
    """Nanoseconds since the epoch. Raises IntegrityError for what is not RFC 3339."""
    match = _RFC3339.match(text)
    if not match:
        raise IntegrityError(f"{text[:80]!r} is not an RFC 3339 time")
    day, clock, fraction, zone = match.groups()
    try:
        when = datetime.fromisoformat(f"{day}T{clock}{zone or '+00:00'}")
    except ValueError as error:
        raise IntegrityError(f"{text[:80]!r} is not an RFC 3339 time") from error
    since = when - _EPOCH
    whole = since.days * 86400 + since.seconds
    return whole * _SECOND + int((fraction or "0").ljust(9, "0"))
