"""What a look at the host found. Pure."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warn", "no"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `fix` says what to do unless the verdict is ok."""

    name: str
    verdict: Verdict
    text: str
    fix: str = ""
