"""The cases: each yields figures, with the limits that the project has set itself."""

import subprocess
import sys
import time

from cached import cached
from compiling import compiling
from link import Link
from reading import entries, reading
from report import Figure
from soak import soak
from stand import Spent, median

COMPILE = """\
ARG BASE
FROM ${BASE} AS dev
RUN python3 -c 'import json,ssl,sqlite3'
RUN echo 'int main(){return 0;}' > a.c && gcc -static -O2 a.c -o /a && /a
FROM scratch
COPY --from=dev /a /a
ENTRYPOINT ["/a"]
"""
TRUE_STEPS = 20
COUNT = 15
MBIT = 1e6 / 8
SLOW = 3


# --- cold builds over a link ---------------------------------------------------------------------


UNKNOWN = ("--profile-from=off", "--profile-to=off")


def cold(stand, image, *flags, rtt, mbit, runs, watch=False):
    """The middle of several builds, each with an empty store and, unless told, no profile."""
    found = []
    with (
        stand.context({"Dockerfile": COMPILE}) as context,
        Link(stand.registry.port, rtt=rtt / 1000, rate=mbit * MBIT) as link,
    ):
        base = f"BASE=127.0.0.1:{link.port}/{image}"
        for _ in range(runs):
            with stand.store() as store:
                words = ("-t", "x", "--build-arg", base, *(flags or UNKNOWN))
                found.append(stand.build(store, context, *words, watch=watch))
    return sorted(found, key=lambda spent: spent.wall)[len(found) // 2]


def base_layer(spent: Spent):
    return next(layer for layer in spent.stats["layers"] if layer["mode"] != "local")


def lazy(stand):
    image = stand.image("lazy")
    for rtt, mbit, limit in ((20, 400, 3.0), (100, 400, None), (20, 50, None)):
        spent = cold(stand, image, rtt=rtt, mbit=mbit, runs=stand.repeat)
        layer = base_layer(spent)
        where = f"{mbit} Mbit/s, {rtt} ms"
        note = f"cpu {spent.cpu:.1f} s, {spent.stats['requests']} requests, {layer['mode']}"
        yield Figure("lazy", f"cold build, {where}", spent.wall, "s", limit, note=note)
        share = 100 * layer["bytes_fetched"] / layer["size"]
        yield Figure("lazy", f"of the base fetched, {where}", share, "%", 10)
        if "bytes_read" in layer:
            ratio = layer["bytes_fetched"] / layer["bytes_read"]
            yield Figure("lazy", f"bytes fetched over bytes read, {where}", ratio, "", 1.15)
    spent = cold(stand, image, rtt=20, mbit=400, runs=1, watch=True)
    yield Figure("lazy", "memory of builder and daemon", spent.memory, "MB", 200)


def profiled(stand):
    """As `lazy`, with the access profile that a first build has left beside the base."""
    image = stand.image("known")
    cold(stand, image, "--profile-from=off", rtt=0, mbit=1000, runs=1)
    for rtt, mbit, limit in ((20, 400, 1.6), (100, 400, None), (20, 50, None)):
        spent = cold(stand, image, "--profile-to=off", rtt=rtt, mbit=mbit, runs=stand.repeat)
        note = f"cpu {spent.cpu:.1f} s, {spent.stats['requests']} requests"
        yield Figure(
            "profiled", f"cold build, {mbit} Mbit/s, {rtt} ms", spent.wall, "s", limit, note=note
        )


def eager(stand):
    image = stand.image("plain", "--compression", "gzip")
    spent = cold(stand, image, rtt=20, mbit=400, runs=1, watch=True)
    note = f"cpu {spent.cpu:.1f} s, {base_layer(spent)['mode']}"
    yield Figure("eager", "cold build, 400 Mbit/s, 20 ms", spent.wall, "s", 13, note=note)
    yield Figure("eager", "memory of builder and daemon", spent.memory, "MB", 200)


# --- steps ---------------------------------------------------------------------------------------


def steps(stand):
    base = f"{stand.registry.host}/{stand.image('lazy')}"
    lines = [f"FROM {base}", *("RUN true" for _ in range(TRUE_STEPS))]
    with stand.context({"Dockerfile": "\n".join(lines)}) as context, stand.store() as store:
        spent = stand.build(store, context, "-t", "x")
    taken = spent.step_seconds("RUN true")
    mean = 1000 * (sum(taken) / len(taken) - bare("true"))
    note = f"median {1000 * median(taken):.0f} ms, cpu of the build {spent.cpu:.1f} s"
    yield Figure("steps", "RUN true over the bare command", mean, "ms", 60, note=note)
    lines = [f"FROM {base}", *(f"RUN echo {n}" for n in range(TRUE_STEPS))]
    with stand.context({"Dockerfile": "\n".join(lines)}) as context, stand.store() as store:
        spent = stand.build(store, context, "-t", "x")
    total = sum(spent.step_seconds("RUN echo"))
    note = f"whole build {spent.wall:.2f} s, cpu {spent.cpu:.1f} s"
    yield Figure("steps", "20 x RUN echo, step time", total, "s", 2.0, note=note)


def bare(command):
    """Seconds that a shell takes for the command without us."""
    began = time.perf_counter()
    for _ in range(TRUE_STEPS):
        subprocess.run(["/bin/sh", "-c", command], check=True)
    return (time.perf_counter() - began) / TRUE_STEPS


def parallel(stand):
    base = f"{stand.registry.host}/{stand.image('lazy')}"
    text = f"""\
FROM {base} AS one
RUN sleep {SLOW} && echo 1 > /one
FROM {base} AS two
RUN sleep {SLOW} && echo 2 > /two
FROM scratch
COPY --from=one /one /
COPY --from=two /two /
"""
    with stand.context({"Dockerfile": text}) as context, stand.store() as store:
        spent = stand.build(store, context, "-t", "x")
    yield Figure("parallel", "two stages that sleep 3 s", spent.wall, "s", 4.5)


# --- whole processes -----------------------------------------------------------------------------


def startup(stand):
    base = f"{stand.registry.host}/{stand.image('lazy')}"
    text = COMPILE.replace("ARG BASE\n", "").replace("${BASE}", base)
    with stand.context({"Dockerfile": text}) as context, stand.store() as store:
        stand.build(store, context, "-t", "x")
        found = [stand.build(store, context, "-t", "x") for _ in range(COUNT)]
        assert all(spent.stats["tier"] == "T0" for spent in found)
        yield processes("cached rebuild", found, 0.35)
        yield processes("--help", [stand.timed(store, "--help") for _ in range(COUNT)], 0.15)


def processes(name, found, limit):
    wall, cpu = (median([getattr(spent, what) for spent in found]) for what in ("wall", "cpu"))
    best = min(spent.wall for spent in found)
    note = f"cpu {cpu:.2f} s, best {best:.2f} s, bare python {interpreter():.3f} s"
    return Figure("startup", name, wall, "s", limit, note=note)


def interpreter():
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - began


# --- layers --------------------------------------------------------------------------------------


def writing(stand):
    found = stand.measured("estargz_write.py", stand.small_tar, "--gzip")
    note = f"cpu {found['cpu_seconds']} s, {stand.small_tar.name}"
    speed = found["megabytes_per_second"]
    yield Figure("writing", "eStargz of a tar", speed, "MB/s", 100, least=True, note=note)
    yield Figure("writing", "blob over gzip -6", found["percent_over_gzip_6"], "%", 2)
    yield Figure("writing", "peak memory", found["peak_rss_mib"], "MB", 300)


def converting(stand):
    image = f"{stand.registry.host}/{stand.image('plain', '--compression', 'gzip')}"
    with stand.store() as store:
        spent = stand.timed(store, "convert", image, "converted:1", watch=True)
    speed = stand.base_tar.stat().st_size / spent.wall / 1e6
    note = f"cpu {spent.cpu:.1f} s"
    yield Figure("converting", "from gzip, plain bytes", speed, "MB/s", 80, least=True, note=note)
    yield Figure("converting", "memory of the process", spent.memory, "MB", 200)


# --- large contexts ------------------------------------------------------------------------------


def context(stand):
    files = {f"src/{n // 500:03}/{n:05}.c": f"int f{n}(void){{return {n};}}\n" * 40
             for n in range(50_000)}  # fmt: skip
    base = f"{stand.registry.host}/{stand.image('lazy')}"
    files["Dockerfile"] = f"FROM {base}\nCOPY src /src\n"
    flags = ("-t", f"{stand.registry.host}/context:1", "--push")
    with stand.context(files) as folder, stand.store() as store:
        first = stand.build(store, folder, *flags)
        again = [stand.build(store, folder, *flags) for _ in range(3)]
        (folder / "src/042/21042.c").write_text("int changed;\n")
        changed = stand.build(store, folder, *flags)
    unchanged = sorted(again, key=lambda spent: spent.wall)[1]
    for name, spent, limit in (
        ("first, pushed", first, 10), ("unchanged", unchanged, 1), ("one file changed", changed, 3),
    ):  # fmt: skip
        note = f"cpu {spent.cpu:.1f} s"
        yield Figure("context", f"50,000 files, {name}", spent.wall, "s", limit, note=note)


CASES = {
    "startup": startup,
    "steps": steps,
    "parallel": parallel,
    "lazy": lazy,
    "profiled": profiled,
    "eager": eager,
    "context": context,
    "writing": writing,
    "converting": converting,
    "reading": reading,
    "entries": entries,
    "cached": cached,
    "compiling": compiling,
    "soak": soak,
}
