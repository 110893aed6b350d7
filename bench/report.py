"""Figures as a table on standard output and as JSON."""

import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured number. `limit` is what it should not exceed (or reach, for `least`)."""

    case: str
    name: str
    value: float
    unit: str
    limit: float | None = None
    least: bool = False
    note: str = ""

    @property
    def verdict(self):
        if self.limit is None:
            return ""
        good = self.value >= self.limit if self.least else self.value <= self.limit
        return "ok" if good else "MISSED"


def show(figures):
    for figure in figures:
        sign = ">=" if figure.least else "<="
        limit = f"{sign} {figure.limit:g}" if figure.limit is not None else ""
        value = f"{figure.value:.3g}" if abs(figure.value) < 100 else f"{figure.value:.0f}"
        print(
            f"{figure.case:10} {figure.name:52} {value:>8} {figure.unit:5} {limit:>8} "
            f"{figure.verdict:7} {figure.note}",
            flush=True,
        )


def save(figures, folder: Path):
    folder.mkdir(exist_ok=True)
    path = folder / time.strftime("%Y%m%dT%H%M%S.json", time.gmtime())
    machine = {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "processors": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
    }
    document = {"machine": machine, "figures": [asdict(figure) for figure in figures]}
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path
