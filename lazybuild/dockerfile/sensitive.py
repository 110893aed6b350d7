"""Which variables look as if they held a secret, and how their values are kept out of sight.

Pure. The names are those that the reference's rule SecretsUsedInArgOrEnv warns of.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

HIDDEN: Final = "****"
SHORTEST: Final = 6
"""Characters; a shorter value stands in too many places that have nothing to do with it."""

_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)


def looks_secret(name: str) -> bool:
    return bool(_SECRET.search(name)) and not _NO_SECRET.search(name)


def values(variables: Iterable[Mapping[str, str]]) -> tuple[str, ...]:
    """The values that must not be shown, the longest first: one may be part of another."""
    found = {
        value
        for some in variables
        for name, value in some.items()
        if looks_secret(name) and len(value) >= SHORTEST
    }
    return tuple(sorted(found, key=len, reverse=True))


def hide(text: str, hidden: Iterable[str]) -> str:
    for value in hidden:
        text = text.replace(value, HIDDEN)
    return text
