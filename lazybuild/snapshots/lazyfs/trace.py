"""Which files of layers that are directories does a step open, in which order?

Watches, with inotify, the directories of the step's merged mount that these layers have: overlay
reports every open and exec below itself, at no cost to the step, but none of it to watches on the
layers' own directories. Lazy layers report their first reads themselves (see `view`).
Owns the watches and one thread; knows no layer but its folder. What is not watched, because the
kernel's limits are reached, is missing from the result and nothing else.
"""

import os
import select
import stat
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from lazybuild.linux import syscalls

# struct inotify_event: wd i32, mask u32, cookie u32, len u32, then the name padded with zeros
_EVENT = struct.Struct("=iIII")
_BUFFER = 256 << 10
_MASK = syscalls.IN_OPEN | syscalls.IN_ONLYDIR
_NO_LINKS = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS


@dataclass(frozen=True, slots=True)
class DirectoryLayer:
    """A layer with its files in a folder, in overlay's format."""

    id: str
    folder: Path


class OpenTrace:
    """Watches from its construction until `stop`."""

    def __init__(self, merged: Path, layers: Sequence[DirectoryLayer]) -> None:
        """`layers` stand bottom first."""
        self._layers = tuple(reversed(layers))
        self._seen: dict[tuple[int, bytes], None] = {}
        self._watched: dict[int, bytes] = {}
        self.complete = True
        self._inotify = syscalls.inotify_init()
        self._end_read, self._end_write = os.pipe()
        self._watch_all(merged)
        self._thread = threading.Thread(target=self._listen, name="open-trace", daemon=True)
        self._thread.start()

    def stop(self) -> list[tuple[str, str]]:
        """(layer id, path) of each file opened, in order of first use."""
        os.close(self._end_write)
        self._thread.join()
        self._take()
        os.close(self._end_read)
        _close_aside(self._inotify)
        return list(self._found())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread.is_alive():
            self.stop()

    def _watch_all(self, merged: Path) -> None:
        root = os.open(merged, os.O_PATH | os.O_DIRECTORY)
        try:
            for path in _directories(self._layers):
                self._watch(root, path)
        except OSError:
            self.complete = False  # max_user_watches: what is watched is still worth having
        finally:
            os.close(root)

    def _watch(self, root: int, path: bytes) -> None:
        flags = os.O_PATH | os.O_DIRECTORY
        try:
            fd = syscalls.openat2(root, path or b".", flags, resolve=_NO_LINKS)
        except OSError:
            return  # a layer above has something else there
        try:
            wd = syscalls.inotify_add_watch(self._inotify, f"/proc/self/fd/{fd}", _MASK)
        finally:
            os.close(fd)
        self._watched[wd] = path

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._inotify, select.POLLIN)
        poll.register(self._end_read, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._inotify in ready:
                self._take()
            if self._end_read in ready:
                return

    def _take(self) -> None:
        while True:
            try:
                events = os.read(self._inotify, _BUFFER)
            except BlockingIOError:
                return
            for wd, mask, name in _parse(events):
                if mask & syscalls.IN_Q_OVERFLOW:
                    self.complete = False
                elif not mask & syscalls.IN_ISDIR and name:
                    self._seen.setdefault((wd, name))

    def _found(self) -> Iterator[tuple[str, str]]:
        for wd, name in self._seen:
            folder = self._watched.get(wd)
            if folder is None:
                continue
            path = folder + b"/" + name if folder else name
            layer = next((one for one in self._layers if _is_file(one.folder, path)), None)
            if layer is not None:
                yield layer.id, os.fsdecode(path)


def _parse(events: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at < len(events):
        wd, mask, _, length = _EVENT.unpack_from(events, at)
        at += _EVENT.size
        yield wd, mask, events[at : at + length].rstrip(b"\0")
        at += length


def _close_aside(fd: int) -> None:
    """Closing watches waits for the kernel to forget them, some milliseconds: not in our way."""
    threading.Thread(target=os.close, args=(fd,), name="close-trace", daemon=True).start()


def _directories(layers: Sequence[DirectoryLayer]) -> list[bytes]:
    """The directories of the layers that hold files, each once, parents first."""
    found = set[bytes]()
    for layer in layers:
        found.update(_below(os.fsencode(layer.folder)))
    return sorted(found)


def _below(folder: bytes) -> Iterator[bytes]:
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        try:
            with os.scandir(folder + b"/" + path) as entries:
                found = [(e.name, e.is_dir(follow_symlinks=False)) for e in entries]
        except PermissionError:
            continue  # a folder that only its owner may list; its files are not ours to know
        if not all(is_directory for _, is_directory in found):
            yield path
        names = [name for name, is_directory in found if is_directory]
        waiting += [path + b"/" + name if path else name for name in names]


def _is_file(folder: Path, path: bytes) -> bool:
    """Whether the layer has a regular file there, reached without following a link."""
    try:
        root = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fd = syscalls.openat2(root, path, os.O_PATH | os.O_NOFOLLOW, resolve=_NO_LINKS)
    except OSError:
        return False
    finally:
        os.close(root)
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    finally:
        os.close(fd)
