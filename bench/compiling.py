"""A C build over the lazy mount against the same tree unpacked on disk, second run of each."""

import json

from report import Figure

UNITS, ROUNDS = 2000, 2
INCLUDES = ("stdio", "stdlib", "string", "errno", "unistd", "sys/stat", "math", "signal")
TEXT = """\
ARG BASE
FROM ${BASE} AS dev
COPY src /src
RUN python3 /src/build.py
FROM scratch
COPY --from=dev /result /
"""
BUILD = """\
import json, resource, subprocess, tempfile, time

def once():
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as objects:
        command = "find /src -name '*.c' | sort | xargs -P 2 -n 20 gcc -O0 -c"
        subprocess.run(command, shell=True, check=True, cwd=objects)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.perf_counter() - began, "cpu": cpu}

once()
json.dump(once(), open("/result", "w"))
"""


def unit(number):
    lines = [f"#include <{name}.h>\n" for name in INCLUDES]
    body = f'int f{number}(int n)\n{{\n    return n ? printf("%d\\n", n * {number}) : errno;\n}}\n'
    return "".join(lines) + body


def compiling(stand):
    files = {f"src/{number // 100}/{number}.c": unit(number) for number in range(UNITS)}
    files |= {"Dockerfile": TEXT, "src/build.py": BUILD}
    with stand.context(files) as context, stand.store() as one, stand.store() as other:
        lazy = (one, stand.image("lazy"))
        disk = (other, stand.image("plain", "--compression", "gzip"))
        rounds = [
            (built(stand, context, *lazy), built(stand, context, *disk)) for _ in range(ROUNDS)
        ]
    for what, limit in (("wall", 1.1), ("cpu", None)):
        mount, unpacked = (min(run[what] for run in runs) for runs in zip(*rounds, strict=True))
        note = f"{mount:.1f} s over the mount, {unpacked:.1f} s on disk, best of {ROUNDS} in turn"
        title = f"{UNITS} units of C over the mount, {what} against the disk"
        yield Figure("compiling", title, mount / unpacked, "", limit, note=note)


def built(stand, context, store, image):
    """What the second run took."""
    dest = store.parent / "out"
    base = f"BASE={stand.registry.host}/{image}"
    output = ("--no-cache", "--profile-to=off", "-o", f"type=local,dest={dest}")
    stand.build(store, context, "--build-arg", base, *output)
    return json.loads((dest / "result").read_text())
