"""Cache mounts: directories that outlive builds, by hashed id, with the three ways of sharing.

Sources: docs of `RUN --mount=type=cache`; BuildKit's solver/llbsolver/mounts. `shared` lets all
in at once, `locked` waits for its turn, `private` takes another directory when one is busy.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from lazybuild.errors import BuildError
from lazybuild.estargz.entry import Item
from lazybuild.executor.spec import BindMount
from lazybuild.llb.graph import Vertex
from lazybuild.llb.ops import Mount, Sharing
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.snapshots.tree import Tree, entry_of, resolve, walk
from lazybuild.snapshots.unpack import unpack
from lazybuild.solver.once import StoppedError
from lazybuild.store import Store
from lazybuild.worker.services import Result, Services

WAIT = 0.1


def mount(
    services: Services, stack: ExitStack, vertex: Vertex, mount: Mount, inputs: Sequence[Result]
) -> BindMount:
    """The directory of the cache, held as `mount.sharing` says until the stack ends."""
    name = name_of(vertex, mount)
    first = place(services.store, name)
    first.parent.mkdir(mode=0o700, exist_ok=True)
    taken = _take(services, stack, first, mount.sharing)
    _fill(services, taken, name, mount, inputs)
    return BindMount(source=taken, dest=mount.dest, readonly=mount.readonly, movable=True)


def name_of(vertex: Vertex, mount: Mount) -> str:
    """The id, and what the cache began with: two of one id with different beginnings are two."""
    if mount.input < 0:
        return mount.id
    edge = vertex.inputs[mount.input]
    beginning = f"{edge.vertex.digest} {edge.index} {mount.selector}"
    digest = hashlib.sha256(beginning.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{mount.id}@{digest[:16]}"


def place(store: Store, name: str) -> Path:
    """Where the cache with this id is; a second one of the same id has a number behind that."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return store.root / "cache-mounts" / digest


def _take(services: Services, stack: ExitStack, first: Path, sharing: Sharing) -> Path:
    number = 0
    while True:
        place = first.with_name(f"{first.name}.{number}") if number else first
        together = sharing is Sharing.SHARED and (services.host is None or services.host.mounts)
        mode = fcntl.LOCK_SH if together else fcntl.LOCK_EX  # what is moved is in one place only
        if _lock(stack, place, mode):
            return place
        if sharing is Sharing.PRIVATE:
            number += 1
            continue
        if services.stop.wait(WAIT):
            raise StoppedError("waiting for a cache mount")


def _lock(stack: ExitStack, place: Path, mode: int) -> bool:
    """Locks die with their process, so a killed build leaves none."""
    fd = os.open(f"{place}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return False
    stack.callback(os.close, fd)
    os.utime(fd)  # how the collector knows when it was used
    return True


def _fill(
    services: Services, place: Path, name: str, mount: Mount, inputs: Sequence[Result]
) -> None:
    """Make a new cache: empty, or with what its `from` holds. It appears when it is complete."""
    if place.exists():
        return
    draft = place.with_name(f".{place.name}.{os.getpid()}.{time.monotonic_ns()}")
    draft.mkdir(mode=0o755)
    if services.restore(name, draft):
        pass  # what another machine had in it
    elif mount.input >= 0:
        tree = _tree(services, inputs[mount.input])
        _copy(tree, resolve(tree, mount.selector), draft)
    try:
        draft.rename(place)
    except OSError as error:
        if not place.exists():
            raise BuildError(f"cache mount {mount.dest}: {error.strerror}") from error


def _tree(services: Services, result: Result) -> Tree:
    return result if isinstance(result, HostTree) else services.snapshots.tree(result)


def _copy(tree: Tree, top: str, place: Path) -> None:
    def items() -> "list[Item]":
        found = []
        for path, node in walk(tree, top):
            name = path[len(top) :].strip("/")
            opener = (lambda path=path: tree.open(path)) if node.size else None
            found.append(Item(entry_of(name, node), opener))
        return found

    unpack(items(), place)
