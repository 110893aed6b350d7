"""Ends what a step leaves running where it has no pid namespace that would do it.

All that a step starts descends from the process that calls this, the subreaper of the step. A pid
may be taken by another process at any time, so each is killed by a descriptor, and only if it is
still the process that was found.
"""

import _signal  # type: ignore[import-not-found]  # `signal` costs 4 ms; has no stub
import os

STATE, PARENT, STARTED = 0, 1, 19  # fields of /proc/PID/stat behind the name


def end_descendants(but: int = 0) -> None:
    """Kill and reap until there are none: children of the killed become ours. `but` ends by itself
    after the others.
    """
    while True:
        for pid, started in descendants():
            if pid != but:
                _kill(pid, started)
        try:
            os.wait()
        except ChildProcessError:
            return


def reap_orphans(but: int) -> None:
    """Collect children that have ended, other than `but`."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid == but:
            return
        os.waitpid(found.si_pid, 0)


def descendants() -> list[tuple[int, str]]:
    """(pid, start time) of every process below this one."""
    table = {}
    for name in os.listdir("/proc"):
        fields = _stat(name) if name.isdigit() else None
        if fields and fields[STATE] != "Z":
            table[int(name)] = int(fields[PARENT]), fields[STARTED]
    found, above = [], {os.getpid()}
    while above:
        below = {pid for pid, (parent, _) in table.items() if parent in above}
        found += [(pid, table[pid][1]) for pid in below]
        above = below
    return found


def _stat(pid: str) -> list[str] | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode().split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _kill(pid: int, started: str) -> None:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    fields = _stat(str(pid))
    try:
        if fields and fields[STARTED] == started:
            _signal.pidfd_send_signal(fd, _signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has ended by itself
    finally:
        os.close(fd)
