"""When to try again and when to stop. An engine: decides and waits, knows no sockets.

One `Attempts` goes with one logical operation, across requests, redirects and resumed bodies.
Thread rule: an `Attempts` belongs to one thread; a `Clock` is shared by all.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NoReturn

from lazybuild.errors import RegistryError


class Kind(StrEnum):
    """What went wrong, as far as it decides what happens next."""

    NAME = "name"  # the host's name could not be resolved
    UNREACHABLE = "unreachable"  # no connection: refused, no route, timed out
    BROKEN = "broken"  # reset or ended in the middle
    STALLED = "stalled"  # connected, and nothing comes
    CERTIFICATE = "certificate"
    NOT_TLS = "not-tls"
    SERVER = "server"  # 5xx
    BUSY = "busy"  # 429
    QUOTA = "quota"  # 429 that waiting does not mend
    REFUSED = "refused"  # any other answer that ends the matter


_TRANSIENT = frozenset(
    {Kind.NAME, Kind.UNREACHABLE, Kind.BROKEN, Kind.STALLED, Kind.SERVER, Kind.BUSY}
)
_NO_CONTACT = frozenset({Kind.NAME, Kind.UNREACHABLE})


class Trouble(Exception):  # noqa: N818  # not an error yet: the attempts decide
    """One attempt failed. `message` is fit to be shown."""

    def __init__(
        self, kind: Kind, message: str, *, retry_after: float | None = None, hint: str = ""
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retry_after = retry_after
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Attempts and waits, in seconds. `patience`: how long to go on whatever the count."""

    attempts: int = 6
    connect_attempts: int = 3
    first_wait: float = 1.0
    longest_wait: float = 16.0
    longest_retry_after: float = 60.0
    patience: float = 0.0


class Clock:
    """Monotonic time with one end for everybody, and waits that a cancel cuts short."""

    def __init__(self, seconds: float | None = None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self._stop = threading.Event()

    def left(self) -> float:
        return float("inf") if self._end is None else self._end - time.monotonic()

    def cancel(self) -> None:
        self._stop.set()

    @property
    def cancelled(self) -> bool:
        return self._stop.is_set()

    def wait(self, seconds: float) -> None:
        self._stop.wait(seconds)


@dataclass(slots=True, kw_only=True)
class Attempts:
    """The count of one operation. `subject` names it: method, host, repository, digest."""

    subject: str
    host: str
    policy: Policy
    clock: Clock
    note: Callable[[str], None]
    count: int = 1
    began: float = field(default_factory=time.monotonic)
    in_row: int = 0
    first_failure: float = 0.0

    def failed(self, trouble: Trouble) -> None:
        """Wait for the next attempt, or raise RegistryError when there is none."""
        if not self.in_row:
            self.first_failure = time.monotonic()
        self.in_row += 1
        if trouble.kind not in _TRANSIENT or self._used_up(trouble):
            self.end(trouble)
        pause = self._pause(trouble)
        if pause >= self.clock.left():
            self.end(trouble, "; the time for this build is used up")
        self.note(
            f"waiting for {self.host}: {trouble.message}; "
            f"attempt {self.count + 1} of {self.subject} in {pause:.1f} s"
        )
        self.clock.wait(pause)
        self.count += 1
        if self.clock.cancelled:
            self.end(trouble, "; cancelled")

    def progressed(self) -> None:
        """Bytes came: failures that follow count from the start again."""
        self.in_row = 0

    def end(self, trouble: Trouble, why: str = "") -> NoReturn:
        tried = ""
        if self.count > 1:
            tried = f" ({self.count} attempts in {time.monotonic() - self.began:.0f} s)"
        raise RegistryError(
            f"{self.subject}: {trouble.message}{tried}{why}",
            hint=trouble.hint or _HINTS.get(trouble.kind, ""),
        )

    def _used_up(self, trouble: Trouble) -> bool:
        no_contact = trouble.kind in _NO_CONTACT
        limit = self.policy.connect_attempts if no_contact else self.policy.attempts
        if self.in_row < limit:
            return False
        return time.monotonic() - self.first_failure >= self.policy.patience

    def _pause(self, trouble: Trouble) -> float:
        if trouble.retry_after is not None:
            return min(trouble.retry_after, self.policy.longest_retry_after)
        if trouble.kind is Kind.BROKEN and self.in_row == 1:
            return 0.0  # most often a kept connection that the other side had closed
        wait = self.policy.first_wait * 2.0 ** min(self.in_row - 1, 16)
        return min(wait, self.policy.longest_wait) * random.uniform(0.5, 1.0)  # noqa: S311  # jitter


_HINTS = {
    Kind.NAME: "check the registry's name and this machine's DNS",
    Kind.UNREACHABLE: "check that the registry runs and that its port can be reached from here",
    Kind.BROKEN: "the registry or a proxy in between ends connections early; try again",
    Kind.STALLED: "the registry or a proxy in between stopped sending; try again",
    Kind.SERVER: "the registry has a fault of its own; try again later or configure a mirror",
    Kind.BUSY: "log in with `lazybuild login` or configure a mirror: the registry limits requests",
    Kind.QUOTA: "log in with `lazybuild login` for a larger allowance, or configure a mirror",
    Kind.CERTIFICATE: (
        "put the authority's certificate into ~/.config/containers/certs.d/HOST/ca.crt, give "
        "--cert-dir or SSL_CERT_FILE, or name the host with --insecure-registry"
    ),
    Kind.NOT_TLS: "name the host with --insecure-registry to use plain HTTP",
}
