"""Run a function in a user and mount namespace with a range of ids, in a child of this process."""

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from lazybuild.executor import ladder
from lazybuild.executor.host import described
from lazybuild.store.remove import remove_tree

T = TypeVar("T")
_CONFINE = """from lazybuild.linux import syscalls
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
raise SystemExit(not syscalls.confine_signals())
"""


def inside(function: Callable[..., T], *args: object) -> T:
    """What `function` returns there; what it raises fails here with its traceback."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _answer(writing, function, args)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    done, value = pickle.loads(answer)
    if not done:
        raise value[0] from RuntimeError(value[1])
    return value


def _answer(writing: int, function: Callable[..., object], args: tuple[object, ...]) -> None:
    try:
        ladder.enter(described(ids="range" if os.geteuid() else "all", obstacle="a test"))
        answer = pickle.dumps((True, function(*args)))
    except BaseException as error:  # noqa: BLE001 - it is raised again in the parent
        answer = _failure(error)
    with open(writing, "wb") as pipe:
        pipe.write(answer)
    os._exit(0)


def _failure(error: BaseException) -> bytes:
    trace = "".join(traceback.format_exception(error))
    try:
        return pickle.dumps((False, (error, trace)))
    except Exception:  # noqa: BLE001 - an error that can't travel
        return pickle.dumps((False, (RuntimeError(trace), trace)))


@cache
def can_confine() -> bool:
    """Whether signals of a program can be kept from others (Landlock of Linux 6.12)."""
    command = [sys.executable, "-c", _CONFINE]
    return not subprocess.run(command, check=False).returncode


def swept(path: Path) -> None:
    """Remove what belongs to ids that only the namespace has."""
    inside(remove_tree, path)
