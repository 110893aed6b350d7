"""What a failing answer says, in words and as a Trouble. Reads at most 16 KiB of it."""

import json
import time
from typing import TYPE_CHECKING, Final

from lazybuild.registry.redact import printable, scrub
from lazybuild.registry.retry import Kind, Trouble

if TYPE_CHECKING:
    from lazybuild.registry.transport import Answer

_MOST: Final = 16 * 1024
_QUOTA_WORDS: Final = ("pull rate limit", "quota exceeded")
_QUOTA_SECONDS: Final = 300.0  # who is told to wait longer has used up an allowance
_FIRST_ERROR, _NOT_IMPLEMENTED, _TOO_MANY, _SERVER_ERRORS = 400, 501, 429, 500

_PHRASES: Final = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    416: "Range Not Satisfiable",
    429: "Too Many Requests",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def passed(answer: "Answer") -> "Answer":
    """The answer, unless its status asks for another attempt: then Trouble, and it is closed."""
    retried = answer.status == _TOO_MANY or (
        answer.status >= _SERVER_ERRORS and answer.status != _NOT_IMPLEMENTED
    )
    if not retried:
        return answer
    with answer:
        message = words(answer)
        wait = retry_after(answer.header("Retry-After"))
    if answer.status != _TOO_MANY:
        raise Trouble(Kind.SERVER, message, retry_after=wait)
    lowered = message.lower()
    spent = any(word in lowered for word in _QUOTA_WORDS) or (wait or 0) > _QUOTA_SECONDS
    raise Trouble(Kind.QUOTA if spent else Kind.BUSY, message, retry_after=wait)


def words(answer: "Answer") -> str:
    """The status and the registry's own message: `404 Not Found: manifest unknown`."""
    try:
        body = b"".join(answer.blocks(_MOST))
    except Trouble:
        body = b""
    phrase = f"{answer.status} {_PHRASES.get(answer.status, '')}".strip()
    said = _message(body)
    return f"{phrase}: {said}" if said else phrase


def retry_after(value: str) -> float | None:
    """Seconds from a Retry-After header in either of its forms; None if it has neither."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  # a rare form

    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None


def _message(body: bytes) -> str:
    try:
        value = json.loads(body)
        first = value["errors"][0]
        texts = [str(first.get(key) or "") for key in ("message", "code")]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return _plain(body)
    return scrub(texts[0] or texts[1])


def _plain(body: bytes) -> str:
    """A short text body as it is; a page of HTML says nothing that helps."""
    text = body.decode(errors="replace").strip()
    return "" if text.startswith(("<", "{", "[")) else printable(scrub(text))
