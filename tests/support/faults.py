"""What a scripted registry does wrong, and what it saw. Values and the list that hands them out.

registry.fault(Fault(method="GET", path=r"/blobs/", cut=1000))          # the next one only
registry.fault(Fault(path=r"/manifests/", status=503, times=ALWAYS))
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

ALWAYS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One entry of the script: which requests it meets, then what happens to them.

    `method` and `path` are regular expressions; `path` is searched in path and query.
    It meets requests number `after` to `after + times - 1` of those that match.
    """

    method: str = r".*"
    path: str = r""
    after: int = 0
    times: int = 1

    delay: float = 0.0  # seconds before anything is answered
    reset: bool = False  # the connection is reset without an answer
    receive: int | None = None  # read and keep so much of an upload's body, then reset
    status: int = 0  # answered instead of the real answer, with `body`
    headers: Mapping[str, str] = field(default_factory=dict)  # added to the answer, or replaced
    body: bytes = b""
    redirect: str = ""  # base URL of another place: 307 to it, path kept, `query` added
    query: str = "X-Amz-Signature=s3cr3t"
    cut: int | None = None  # the connection ends after so many bytes of the body
    stall: int | None = None  # nothing more after so many bytes of the body, connection open
    flip: int | None = None  # one bit of this byte of the body is wrong
    content_range: str = ""  # told instead of the true one
    ignore_range: bool = False  # 200 and everything


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request as the registry saw it, with its answer. `sent`, `received`: bytes of bodies."""

    method: str
    path: str
    query: str = ""
    range: str = ""
    authorization: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 0
    sent: int = 0
    received: int = 0
    connection: int = 0


class Script:
    """The faults still to come. Each request takes at most one, the first that fits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[tuple[Fault, re.Pattern[str], re.Pattern[str]]] = []
        self._met: dict[int, int] = {}

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append((fault, re.compile(fault.method), re.compile(fault.path)))

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()
            self._met.clear()

    def take(self, method: str, target: str) -> Fault:
        """The fault for this request, or one that does nothing."""
        with self._lock:
            for number, (fault, methods, paths) in enumerate(self._faults):
                if not methods.fullmatch(method) or not paths.search(target):
                    continue
                met = self._met.get(number, 0)
                self._met[number] = met + 1
                if fault.after <= met < fault.after + fault.times:
                    return fault
        return Fault()
