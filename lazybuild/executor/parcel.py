"""Packs the sandbox for a bare interpreter: compiled modules once per builder, a spec per step.

The interpreter is started with `BOOTSTRAP` as its program and a descriptor as its argument; it is
the one that runs the builder, so `marshal` is understood. `marshal` because `json` alone would
double the time a step takes to start. Thread rule: safe.
"""

import marshal
import os
import sys
from functools import cache
from importlib import util
from importlib.abc import InspectLoader
from typing import Final

from lazybuild.executor.sandbox.wire import WireSpec

MODULES: Final = (
    "lazybuild.linux.syscalls",
    "lazybuild.executor.sandbox.refused",
    "lazybuild.executor.sandbox.points",
    "lazybuild.executor.sandbox.mounts",
    "lazybuild.executor.sandbox.step",
    "lazybuild.executor.sandbox.strays",
    "lazybuild.executor.sandbox.process",
)
FAKES: Final = (
    "lazybuild.linux.answers",
    "lazybuild.linux.ownernotes",
    "lazybuild.executor.sandbox.identity",
    "lazybuild.executor.sandbox.makings",
    "lazybuild.executor.sandbox.calls",
    "lazybuild.executor.sandbox.fakes",
)

BOOTSTRAP: Final = """\
import marshal, sys
with open(int(sys.argv[1]), "rb") as parcel:
    modules, spec = marshal.load(parcel), marshal.load(parcel)
for name, code in modules:
    while name not in sys.modules:
        sys.modules[name] = type(sys)(name)
        name = name.rpartition(".")[0] or name
for name, code in modules:
    exec(code, sys.modules[name].__dict__)
    parent, _, leaf = name.rpartition(".")
    setattr(sys.modules[parent], leaf, sys.modules[name])
sys.modules[name].main(spec)
"""


def command(parcel: int) -> list[str]:
    return [sys.executable, "-SIE", "-X", "utf8", "-c", BOOTSTRAP, str(parcel)]


def pack(spec: WireSpec) -> int:
    """A descriptor, in memory, from which the sandbox reads itself and its spec."""
    fd = os.memfd_create("step")
    with open(fd, "wb", closefd=False) as file:
        file.write(_modules(fakes=bool(spec["fakes"])))
        file.write(marshal.dumps(dict(spec)))
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


@cache
def _modules(*, fakes: bool) -> bytes:
    names = (MODULES[0], *FAKES, *MODULES[1:]) if fakes else MODULES
    return marshal.dumps([(name, _code(name)) for name in names])


def _code(name: str) -> object:
    found = util.find_spec(name)
    if found is None or not isinstance(found.loader, InspectLoader):
        raise ImportError(f"the code of {name} can't be had")
    return found.loader.get_code(name)
