"""How this process gets its ids in a user namespace: the process that stays outside maps them.

By newuidmap and newgidmap from the user's ranges; by its own hand where it is root of a container
that may set ids; with one id only, by itself. Needs a process with a single thread.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lazybuild.errors import HostError
from lazybuild.executor import causes, idmap, trial
from lazybuild.executor.host import Ids
from lazybuild.linux import caps, syscalls

SUBUID, SUBGID = Path("/etc/subuid"), Path("/etc/subgid")
HELPER_TIMEOUT = 10.0
NEEDED: Final = ("SETUID", "SETGID", "SETFCAP")  # to map ids of this namespace into another

RANGE_HINT = (
    "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER gives a range"
)

Mapper = Callable[[int], str]
"""Maps the process with this pid, from outside; "ok" or what went wrong."""


def available() -> Ids:
    """The best way there is here. An existing but broken range is an error, not a lesser way."""
    if os.geteuid() == 0 and all(caps.has(syscalls.capget()[0], name) for name in NEEDED):
        return "own"
    if not idmap.has_range(os.getuid(), SUBUID) and not idmap.has_range(os.getuid(), SUBGID):
        return "one"
    require_range()
    return "range"


def require_range() -> None:
    """Raise unless the user has ranges and the helpers that map them."""
    ranges()
    helpers()


def ranges() -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    uid = os.getuid()
    return idmap.ranges_of(uid, SUBUID), idmap.ranges_of(uid, SUBGID)


def helpers() -> tuple[str, str]:
    """Absolute paths, looked up before anything foreign is on disk."""
    found = tuple(shutil.which(name) for name in ("newuidmap", "newgidmap"))
    if not found[0] or not found[1]:
        missing = "newuidmap" if not found[0] else "newgidmap"
        raise HostError(f"{missing} is not installed", hint="sudo apt-get install uidmap")
    return found[0], found[1]


def enter(ids: Ids) -> None:
    """Move this process into a user namespace, where it is root, and a mount namespace."""
    if ids == "one":
        uid, gid = os.getuid(), os.getgid()
        _unshare()
        _step("map this user's id", lambda: trial.map_self(uid, gid))
        return
    _enter_mapped(_by_own_hand() if ids == "own" else _by_helpers())
    _become_root()


def _unshare() -> None:
    flags = syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS
    _step("unshare a user namespace", lambda: syscalls.unshare(flags))


def _step(what: str, action: Callable[[], None]) -> None:
    try:
        action()
    except OSError as failure:
        raise causes.userns_error(what, failure.errno or 0) from failure


def _become_root() -> None:
    """Ids of the new namespace; the groups of the user outside have no place in a build."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


# --- the process that stays outside --------------------------------------------------------------


def _enter_mapped(mapper: Mapper) -> None:
    ready, go = os.pipe()
    child, answer = _start_mapper(mapper, ready, go)
    os.close(ready)
    try:
        _unshare()
        os.write(go, b"1")
    finally:
        os.close(go)  # without the byte before it, the child just ends
    _await_mapper(child, answer)


def _start_mapper(mapper: Mapper, ready: int, go: int) -> tuple[int, int]:
    """Fork the process that stays outside; it maps us when `ready` has a byte."""
    answer, verdict = os.pipe()
    wanted = os.getpid()
    child = os.fork()
    if child:
        os.close(verdict)
        return child, answer
    try:
        os.close(go)
        if os.read(ready, 1):
            os.write(verdict, mapper(wanted).encode())
    finally:
        os._exit(0)


def _await_mapper(child: int, answer: int) -> None:
    with open(answer, "rb") as pipe:
        verdict = pipe.read().decode(errors="replace")
    os.waitpid(child, 0)
    if verdict != "ok":
        raise HostError(
            verdict or "the process that maps user ids died",
            hint="newuidmap and newgidmap must be setuid root or have their file capabilities,"
            " and the ranges in /etc/subuid and /etc/subgid must belong to this user;"
            " --isolation T5 builds with one id",
        )


def _by_helpers() -> Mapper:
    (uid_ranges, gid_ranges), (newuidmap, newgidmap) = ranges(), helpers()
    uid, gid = os.getuid(), os.getgid()

    def map_ids(pid: int) -> str:
        return run_helpers(
            [
                map_command(newuidmap, pid, uid, uid_ranges),
                map_command(newgidmap, pid, gid, gid_ranges),
            ]
        )

    return map_ids


def map_command(helper: str, pid: int, own: int, found: list[tuple[int, int]]) -> list[str]:
    numbers = [
        str(number)
        for it in idmap.id_map(own, found)
        for number in (it.inside, it.outside, it.count)
    ]
    return [helper, str(pid), *numbers]


def run_helpers(commands: list[list[str]]) -> str:
    """Run newuidmap and newgidmap; "ok" or what went wrong."""
    for command in commands:
        try:
            run = subprocess.run(
                command, capture_output=True, timeout=HELPER_TIMEOUT, check=False, env={}
            )
        except subprocess.TimeoutExpired:
            return f"{command[0]} did not answer within {HELPER_TIMEOUT:.0f} s"
        except OSError as failure:
            return f"{command[0]}: {failure.strerror}"
        if run.returncode:
            said = run.stderr.decode(errors="replace").strip()
            return f"{command[0]} failed: {said or f'exit status {run.returncode}'}"
    return "ok"


def _by_own_hand() -> Mapper:
    """Every id that this namespace has means the same in the new one."""

    def map_ids(pid: int) -> str:
        try:
            for name in ("uid_map", "gid_map"):
                with open(f"/proc/self/{name}") as own:
                    text = "".join(_identity(line) for line in own)
                fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY)
                os.write(fd, text.encode())
                os.close(fd)
        except OSError as failure:
            return f"the ids of this container can't be mapped: {failure.strerror}"
        return "ok"

    return map_ids


def _identity(line: str) -> str:
    inside, _, count = line.split()
    return f"{inside} {inside} {count}\n"
