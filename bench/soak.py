"""Many builders on one store, some of them killed: nothing may be lost, left over or different."""

import sys
import time
from pathlib import Path

from report import Figure

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.building import Builder, settled
from support.inside import swept
from support.soak import Soak, damage, leftovers

COUNT, PARALLEL, KILLED = 200, 8, 0.3


def soak(stand):
    folder = stand.folder / f"soak-{time.time_ns()}"
    base = f"{stand.registry.host}/{stand.image('lazy')}"
    many, alone = Builder(folder / "many"), Builder(folder / "alone")
    for builder in (many, alone):
        builder.folder.mkdir(parents=True)
    work = Soak(many, base, kill=KILLED)
    began = time.monotonic()
    outcome = work.run(COUNT, PARALLEL)
    note = f"{COUNT} builds, {PARALLEL} at a time, {outcome.killed} killed"
    yield Figure("soak", "wall time", time.monotonic() - began, "s", note=note)
    for name, code, said in outcome.failures:
        print(f"{name}: exit code {code}\n{said}", file=sys.stderr)
    yield Figure("soak", "builds that failed", len(outcome.failures), "", 0)
    yield Figure("soak", "processes and mounts left", len(settled(many.leftovers)), "", 0)
    yield Figure("soak", "things wrong with the store", len(damage(many.root)), "", 0)
    serial = work.serial(alone)
    different = [name for name, found in outcome.digests.items() if found != {serial[name]}]
    yield Figure("soak", "recipes with other results than alone", len(different), "", 0)
    yield Figure("soak", "temporary things left by prune", len(leftovers(many)), "", 0)
    yield Figure("soak", "things wrong after prune", len(damage(many.root)), "", 0)
    swept(folder)
