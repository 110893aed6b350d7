"""Which files are opened in watched directories, in the order of first use. An edge over inotify.

It needs no privilege and costs the programs that open files nothing. What the kernel's limits, or
ours, leave unwatched is missing from the result and nothing else: `lacking` says why. Owns the
watches and one thread.
"""

import errno
import os
import select
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Final

from lazybuild.linux import syscalls

# struct inotify_event: wd i32, mask u32, cookie u32, len u32, then the name padded with zeros
_EVENT: Final = struct.Struct("=iIII")
_BUFFER: Final = 256 << 10
_MADE: Final = syscalls.IN_CREATE | syscalls.IN_MOVED_TO
_MASK: Final = syscalls.IN_OPEN | _MADE | syscalls.IN_ONLYDIR
MAX_DIRECTORIES: Final = 65_536
MAX_FILES: Final = 262_144
SECONDS: Final = 2.0  # for watches to be set up
_LIMITS: Final = {
    errno.EMFILE: "fs.inotify.max_user_instances or the limit of open files is reached",
    errno.ENOSPC: "fs.inotify.max_user_watches is reached",
}


class Opens:
    """Notes what is opened from its construction until `stop`."""

    def __init__(self, places: Iterable[tuple[bytes, bytes]], *, seconds: float = SECONDS) -> None:
        """`places` are directories: a path to each, used before the next is asked for, and the
        name that it has in the result.
        """
        self.lacking = ""
        self._seen: dict[bytes, None] = {}
        self._made: set[bytes] = set()
        self._watched: dict[int, bytes] = {}
        self._inotify, self._end = -1, -1
        try:
            self._inotify = syscalls.inotify_init()
        except OSError as error:
            self.lacking = _why(error)
        else:
            self._watch_all(places, time.monotonic() + seconds)
        ended, self._end = os.pipe()
        self._thread = threading.Thread(
            target=self._listen, args=(ended,), name="opens", daemon=True
        )
        self._thread.start()

    def stop(self) -> list[bytes]:
        """The names of files that were there before and were opened, in order of first use."""
        if self._end >= 0:
            os.close(self._end)
            self._end = -1
            self._thread.join()
        return list(self._seen)

    def _watch_all(self, places: Iterable[tuple[bytes, bytes]], until: float) -> None:
        for path, name in places:
            if len(self._watched) == MAX_DIRECTORIES:
                self.lacking = f"there are more than {MAX_DIRECTORIES} directories"
            elif time.monotonic() > until:
                self.lacking = f"time was enough to watch {len(self._watched)} directories"
            else:
                self._watch(path, name)
            if self.lacking:
                return

    def _watch(self, path: bytes, name: bytes) -> None:
        try:
            self._watched[syscalls.inotify_add_watch(self._inotify, path, _MASK)] = name
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self.lacking = _why(error)  # anything else is about this directory alone

    def _listen(self, ended: int) -> None:
        """Closing the watches waits for the kernel to forget them, some milliseconds: not in the
        way of others.
        """
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        if self._inotify >= 0:
            poll.register(self._inotify, select.POLLIN)
        while ended not in {fd for fd, _ in poll.poll()}:
            self._take()
        self._take()
        os.close(ended)
        if self._inotify >= 0:
            threading.Thread(target=os.close, args=(self._inotify,), daemon=True).start()

    def _take(self) -> None:
        while self._inotify >= 0:
            try:
                data = os.read(self._inotify, _BUFFER)
            except BlockingIOError:
                return
            for wd, mask, name in _events(data):
                if mask & syscalls.IN_Q_OVERFLOW:
                    self.lacking = "files were opened faster than they could be noted"
                elif name and wd in self._watched and not mask & syscalls.IN_ISDIR:
                    self._note(self._watched[wd], name, made=bool(mask & _MADE))

    def _note(self, folder: bytes, name: bytes, *, made: bool) -> None:
        """What was made meanwhile is not what was needed."""
        path = folder + b"/" + name if folder else name
        if len(self._seen) + len(self._made) >= MAX_FILES:
            self.lacking = f"more than {MAX_FILES} files were opened or made"
        elif made:
            self._made.add(path)
        elif path not in self._made:
            self._seen.setdefault(path)


def _events(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at < len(data):
        wd, mask, _, length = _EVENT.unpack_from(data, at)
        at += _EVENT.size
        yield wd, mask, data[at : at + length].rstrip(b"\0")
        at += length


def _why(error: OSError) -> str:
    return _LIMITS.get(error.errno or 0, f"inotify: {error.strerror}")
