"""Texts in history lines as Go's fmt prints them: %q of strings, %v of lists. Pure."""

from collections.abc import Iterable

from lazybuild.dockerfile.durations import spell
from lazybuild.oci.image import Healthcheck

_SHORT = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}
_SURROGATE = 0xDC00
_ASCII_END = 0x80
_BMP_END = 0x10000


def quoted(text: str) -> str:
    """%q of a string."""
    return '"' + "".join(_escaped(char) for char in text) + '"'


def quoted_list(items: Iterable[str]) -> str:
    """%q of a list: `["a" "b"]`."""
    return "[" + " ".join(quoted(item) for item in items) + "]"


def plain_list(items: Iterable[str]) -> str:
    """%v of a list: `[a b]`."""
    return "[" + " ".join(items) + "]"


def health(check: Healthcheck) -> str:
    """%+v of a health check."""
    return (
        f"{{Test:{plain_list(check.test)} Interval:{spell(check.interval)}"
        f" Timeout:{spell(check.timeout)} StartPeriod:{spell(check.start_period)}"
        f" StartInterval:{spell(check.start_interval)} Retries:{check.retries}}}"
    )


def _escaped(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    if char.isprintable():
        return char
    if _SURROGATE <= code < _SURROGATE + 0x100:  # a byte that was not UTF-8
        return f"\\x{code - _SURROGATE:02x}"
    if code < _ASCII_END:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < _BMP_END else f"\\U{code:08x}"
