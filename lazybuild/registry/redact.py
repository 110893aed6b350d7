"""What may be shown of a URL or of a text from outside: no credentials, no signatures. Pure."""

import re
import urllib.parse
from typing import Final

_PLAIN_KEYS: Final = frozenset(
    {"artifactType", "digest", "from", "last", "mount", "n", "ns", "scope", "service"}
)
_SCHEMES: Final = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}", re.IGNORECASE)
_SECRETS: Final = re.compile(
    r"(?i)((?:token|password|secret|signature|authorization)[\"']?\s*[:=]\s*[\"']?)[^\s\"'&,}]{4,}"
)
_URLS: Final = re.compile(r"https?://[^\s\"'<>]+")
_LONGEST: Final = 300


def shown(url: str) -> str:
    """The URL without user, password and the values of unknown query keys."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return "(a malformed URL)"
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(
        f"{key}={value}" if key in _PLAIN_KEYS else f"{key}=…"
        for key, value in urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    )
    return printable(urllib.parse.urlunsplit((parts.scheme, host, parts.path, query, "")))


def scrub(text: str) -> str:
    """A message from a server or a helper: one line, short, without what looks secret."""
    text = _URLS.sub(lambda match: shown(match[0]), text)
    text = _SCHEMES.sub(r"\1 …", text)
    return printable(_SECRETS.sub(r"\1…", text))


def printable(text: str) -> str:
    line = " ".join(text.split())
    line = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"
