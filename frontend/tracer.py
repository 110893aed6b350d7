"""Runs a step's command and notes the files that it opens: what `trace` mounts into RUN steps.

    tracer FOLDER seen|sorted -- COMMAND...

The directories of the step's root are watched for every open and exec below them. What can't be
watched is missing from the notes, which standard error is told, and nothing else: the command runs,
as the first process of its container, with its own environment, and its exit code is the step's.
An edge; the standard library and `linux` only, since nothing else of the step's image is ours.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lazybuild.linux.opens import Opens

OPENS = "opens"
NOT_FOUND, NOT_EXECUTABLE, SIGNALLED = 127, 126, 128
"""Exit codes as shells have them."""


def main() -> int:
    folder, order, _, *command = sys.argv[1:]
    opens = Opens((path, path.strip(b"/")) for path in directories(b"/"))
    code = run(command)
    names = opens.stop()
    if order == "sorted":
        names.sort()
    data = b"".join(name + b"\0" for name in names)
    if opens.lacking:
        sys.stderr.write(f"lazybuild: not all that this step opens is noted: {opens.lacking}\n")
    try:
        (Path(folder) / OPENS).write_bytes(data)
    except OSError as error:
        sys.stderr.write(f"lazybuild: what this step opens can't be noted: {error.strerror}\n")
    return code


def run(command: list[str]) -> int:
    """The command's exit code; orphans are waited for meanwhile, as the first process has to."""
    try:
        child = subprocess.Popen(command)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return NOT_EXECUTABLE if isinstance(error, PermissionError) else NOT_FOUND
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == child.pid:
            code = child.returncode = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else SIGNALLED - code


def directories(root: bytes) -> Iterator[bytes]:
    """The directories below `root` that lie on its own file system, parents first."""
    device = os.lstat(root).st_dev
    waiting = [root]
    while waiting:
        path = waiting.pop()
        yield path
        try:
            with os.scandir(path) as entries:
                below = [each for each in entries if each.is_dir(follow_symlinks=False)]
        except OSError:
            continue  # not ours to list
        waiting += [each.path for each in below if _device(each) == device]


def _device(entry: "os.DirEntry[bytes]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_dev
    except OSError:
        return -1
