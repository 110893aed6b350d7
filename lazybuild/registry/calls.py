"""A request on the wire and what is counted of it, as values: what `transport` carries out.

Apart from it, because its library takes longer to load than many a cached build needs.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl

CONNECT: Final = 10.0

Sent = Callable[[], Iterable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds. `stall`: the longest silence, also the window of the lowest speed."""

    connect: float = CONNECT
    stall: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request on the wire. `body` can be asked for again; `length` are its bytes.

    `tls` is asked for the context only when the scheme is https.
    """

    method: str
    url: str
    tls: "Callable[[], ssl.SSLContext]"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Sent | None = None
    length: int = 0
    stall: float = 0.0  # instead of the usual, for answers that take their time


class Traffic:
    """Totals of everything that went through one Transport."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = self.received = self.sent = 0

    def count(self, *, requests: int = 0, received: int = 0, sent: int = 0) -> None:
        with self._lock:
            self.requests += requests
            self.received += received
            self.sent += sent
