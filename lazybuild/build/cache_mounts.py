"""The cache mounts of a build, taken from and given to other machines when that is asked for."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lazybuild.build.caches import place_of
from lazybuild.build.collect import task
from lazybuild.build.space import Space
from lazybuild.errors import LazybuildError
from lazybuild.estargz.writer import WriterOptions
from lazybuild.events import Noted, Warned
from lazybuild.exchange import mounts
from lazybuild.llb.graph import Vertex, walk
from lazybuild.llb.ops import ExecOp, MountType
from lazybuild.request import BuildRequest, CacheSpec
from lazybuild.worker import caches


class CacheMounts:
    """One for each build."""

    def __init__(self, space: Space, request: BuildRequest) -> None:
        self._space = space
        self._request = request
        places = [place_of(space, spec) for spec in request.cache_mounts_from]
        self._imports = mounts.MountImports(places, space.store, space.sink)

    def restore(self, name: str, target: Path) -> bool:
        """Fill an empty directory with what another machine has under this id, if one has."""
        try:
            return self._imports.restore(name, target)
        except LazybuildError as error:
            if self._request.cache_strict:
                raise
            self._space.sink(Warned(message=f"cache mount {mounts.shown(name)}: {error.message}"))
            return False

    def export(self, heads: list[Vertex], options: WriterOptions) -> None:
        """Give away the mounts that the graphs use. A build that ran nothing has changed none."""
        for spec in self._request.cache_mounts_to if self._space.inside else ():
            self._guarded(spec, heads, options)

    def _guarded(self, spec: CacheSpec, heads: list[Vertex], options: WriterOptions) -> None:
        place = place_of(self._space, spec)
        with (
            task(self._space.sink, f"exporting cache mounts to {place.title}"),
            self._held(heads) as found,
        ):
            try:
                mounts.export(found, place, self._space.store, options, self._note)
            except LazybuildError as error:
                if self._request.cache_strict or spec.strict:
                    raise
                text = f"cache mounts were not written to {place.title}: {error.message}"
                self._space.sink(Warned(message=text))

    @contextmanager
    def _held(self, heads: list[Vertex]) -> Iterator[dict[str, Path]]:
        """The mounts that no other build is writing to, locked against those that would begin."""
        found: dict[str, Path] = {}
        locks = []
        try:
            for name in sorted(set(_ids(heads))):
                path = caches.place(self._space.store, name)
                if path.is_dir():
                    fd = _lock(path)
                    if fd is None:
                        self._note(f"cache mount {mounts.shown(name)} is in use and left out")
                        continue
                    locks.append(fd)
                    found[name] = path
            yield found
        finally:
            for fd in locks:
                os.close(fd)

    def _note(self, message: str) -> None:
        self._space.sink(Noted(message=message))


def _ids(heads: list[Vertex]) -> Iterator[str]:
    for head in heads:
        for vertex in walk(head):
            for mount in vertex.op.mounts if isinstance(vertex.op, ExecOp) else ():
                if mount.type is MountType.CACHE:
                    yield caches.name_of(vertex, mount)


def _lock(path: Path) -> int | None:
    fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd
