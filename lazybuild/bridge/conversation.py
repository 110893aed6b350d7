"""How a talk with a frontend goes: what is under way, how long it was silent, what it was told.

Safe in threads. A frontend is waited for, but not for ever.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lazybuild.errors import BuildError, LazybuildError
from lazybuild.solver.once import StoppedError

MAX_FAILURES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds: until the first call, between calls, and from the result to the end."""

    start: float = 120.0
    silence: float = 600.0
    end: float = 10.0


class Conversation:
    """`bug` is a failure of ours that the frontend can't be blamed for."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._lock = threading.Lock()
        self._under_way = 0
        self._calls = 0
        self._since = time.monotonic()
        self._handed_back = False
        self.failures: list[LazybuildError] = []
        self.bug: BaseException | None = None

    @contextmanager
    def call(self, method: str) -> Iterator[None]:
        """Around each call. Every failure becomes one of ours."""
        self._begin(method)
        try:
            yield
        except LazybuildError as error:
            self._note(error)
            raise
        except OSError as error:
            raise BuildError(f"{error.filename or ''}: {error.strerror}".strip(": ")) from error
        except StoppedError as error:
            raise BuildError("the build was stopped") from error
        except Exception as error:
            self.bug = self.bug or error
            raise BuildError(f"bug: {type(error).__name__}: {error}") from error
        finally:
            with self._lock:
                self._under_way -= 1
                self._since = time.monotonic()

    def end(self) -> None:
        """The frontend has handed its result back; nothing may come after it."""
        with self._lock:
            if self._handed_back:
                raise BuildError("a frontend hands back one result")
            self._handed_back = True

    def complaint(self) -> str:
        """What is wrong with the way it goes, or nothing."""
        with self._lock:
            silent = time.monotonic() - self._since
            if self._under_way:
                return ""
            if self._handed_back:
                seconds, text = self._patience.end, "did not end after it had handed back a result"
            elif self._calls:
                seconds, text = self._patience.silence, "asked for nothing and handed back nothing"
            else:
                seconds, text = self._patience.start, "did not begin to speak"
        return f"{text} within {seconds:g} s" if silent > seconds else ""

    def _begin(self, method: str) -> None:
        with self._lock:
            if self._handed_back:
                raise BuildError(f"{method[:80]} after the result was handed back")
            self._under_way += 1
            self._calls += 1

    def _note(self, error: LazybuildError) -> None:
        with self._lock:
            self.failures = [*self.failures[-MAX_FAILURES:], error]
