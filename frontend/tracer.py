"""Runs a step's command and notes the files that it opens: what `trace` mounts into RUN steps.

    tracer FOLDER seen|sorted -- COMMAND...

inotify on the directories of the step's root tells of every open and exec below them and needs no
privilege. What can't be watched is missing from the notes and nothing else: the command runs, as
the first process of its container, with its own environment, and its exit code is the step's.
An edge; the standard library and `linux` only, since nothing else of the step's image is ours.
"""

import os
import select
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from lazybuild.linux import syscalls

# struct inotify_event: wd i32, mask u32, cookie u32, len u32, then the name padded with zeros
_EVENT = struct.Struct("=iIII")
OPENS = "opens"
MAX_DIRECTORIES = 65536
MASK = syscalls.IN_OPEN | syscalls.IN_CREATE | syscalls.IN_MOVED_TO
FLAGS = syscalls.IN_ONLYDIR | syscalls.IN_DONT_FOLLOW
BUFFER = 256 << 10
NOT_FOUND, NOT_EXECUTABLE, SIGNALLED = 127, 126, 128
"""Exit codes as shells have them."""


def main() -> int:
    folder, order, _, *command = sys.argv[1:]
    watch = Watch(b"/")
    code = run(command)
    names = watch.stop()
    if order == "sorted":
        names.sort()
    data = b"".join(name + b"\0" for name in names)
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


class Watch:
    """Notes what is opened below `root`, on its own file system, until `stop`."""

    def __init__(self, root: bytes) -> None:
        self._seen: dict[bytes, None] = {}
        self._made: set[bytes] = set()
        self._watched: dict[int, bytes] = {}
        self._inotify = syscalls.inotify_init()
        self._end_read, self._end_write = os.pipe()
        self._watch_all(root)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def stop(self) -> list[bytes]:
        """The files that were there before and were opened, in order of first use."""
        os.close(self._end_write)
        self._thread.join()
        self._take()
        os.close(self._end_read)
        os.close(self._inotify)
        return list(self._seen)

    def _watch_all(self, root: bytes) -> None:
        try:
            for path in directories(root):
                wd = syscalls.inotify_add_watch(self._inotify, path, MASK | FLAGS)
                self._watched[wd] = path.removeprefix(root).lstrip(b"/")
                if len(self._watched) == MAX_DIRECTORIES:
                    return
        except OSError:
            return  # max_user_watches: what is watched is still worth having

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._inotify, select.POLLIN)
        poll.register(self._end_read, select.POLLIN)
        while self._end_read not in {fd for fd, _ in poll.poll()}:
            self._take()

    def _take(self) -> None:
        while True:
            try:
                data = os.read(self._inotify, BUFFER)
            except BlockingIOError:
                return
            for wd, mask, name in _events(data):
                if name and wd in self._watched and not mask & syscalls.IN_ISDIR:
                    self._note(self._watched[wd], name, is_open=bool(mask & syscalls.IN_OPEN))

    def _note(self, folder: bytes, name: bytes, *, is_open: bool) -> None:
        """What the step itself has made is not what it needed."""
        path = folder + b"/" + name if folder else name
        if not is_open:
            self._made.add(path)
        elif path not in self._made:
            self._seen.setdefault(path)


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


def _events(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at < len(data):
        wd, mask, _, length = _EVENT.unpack_from(data, at)
        at += _EVENT.size
        yield wd, mask, data[at : at + length].rstrip(b"\0")
        at += length
