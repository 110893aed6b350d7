"""Where a build happens: the store, the registry, the namespaces, the lazy file system.

Everything is opened when it is first needed and closed in the reverse order, whatever happens.
"""

import copy
import resource
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from lazybuild.build import ground, owners
from lazybuild.build.pieces import Kept, Pieces
from lazybuild.errors import BuildError, DaemonDiedError, ResourceError, UsageError
from lazybuild.events import Noted, Ready, Sink, Warned
from lazybuild.executor.host import TIERS, Host, Tier
from lazybuild.oci.ranges import RangeReader
from lazybuild.registry.config import RegistryConfig
from lazybuild.snapshots.copies import Copies
from lazybuild.snapshots.lazyfs.fetchlog import FetchLog, Logged
from lazybuild.store import Layer, Store

if TYPE_CHECKING:
    from lazybuild.registry.client import Registry
    from lazybuild.snapshots.lazyfs.client import LazyFs

ADDRESSES = 512 << 20  # bytes: a stack and an arena for each thread


@dataclass(slots=True, kw_only=True)
class Opened:
    """What was opened so far, for everyone who stands in the same space."""

    host: Host | None = None
    registry: "Registry | None" = None
    lazy: "LazyFs | None" = None
    copies: Copies | None = None
    lost: threading.Event = field(default_factory=threading.Event)
    unreadable: threading.Event = field(default_factory=threading.Event)
    logs: dict[str, FetchLog] = field(default_factory=dict)


@dataclass(kw_only=True)
class Space:
    """One build's surroundings. `host` is None until the namespaces are entered."""

    root: Path
    config: RegistryConfig
    sink: Sink
    stop: threading.Event
    isolation: str = ""

    def __post_init__(self) -> None:
        self._tier = tier_of(self.isolation)
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._opened = Opened()
        self.store = self._stack.enter_context(Store(self.root))
        self.config = replace(self.config, spool=str(self.store.scratch.root))
        self._stack.enter_context(self.store.lease("space"))
        if said := ground.warning(self.root):
            self.sink(Warned(message=said))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def telling(self, sink: Sink) -> "Space":
        """The same surroundings with another listener; to be closed once, by whoever opened it."""
        same = copy.copy(self)
        same.sink = sink
        return same

    @property
    def host(self) -> Host | None:
        return self._opened.host

    @property
    def inside(self) -> bool:
        return self.host is not None

    @property
    def entered(self) -> Host:
        """What steps run on; the namespaces must have been entered."""
        if self.host is None:
            raise RuntimeError("no namespace was entered")
        return self.host

    @property
    def tier(self) -> str:
        """T0 is a build that needs no namespace."""
        return self.host.tier if self.host else "T0"

    def enter(self) -> None:
        """Step onto the highest rung of the ladder; threads may be started from here on."""
        if self.host is not None:
            return
        from lazybuild.executor import ladder  # noqa: PLC0415 - not for what is cached

        _check_addresses()
        host = ladder.probe(self.root, force=self._tier)
        owners.claim(self.store, host)
        ladder.enter(host)
        self._opened.host = host
        self.sink(Noted(message=f"tier {host.tier}: {host.reason}"))
        self.sink(Ready())
        if host.fuse:
            self.lazy()

    def copies(self) -> Copies | None:
        """Trees for steps on a host whose layers can't be stacked, None elsewhere."""
        if self.host is None or self.host.overlay:
            return None
        with self._lock:
            if self._opened.copies is None:
                self._opened.copies = Copies(self.store.scratch)
                self._stack.callback(self._opened.copies.close)
            return self._opened.copies

    def registry(self) -> "Registry":
        from lazybuild.registry.client import Registry  # noqa: PLC0415 - not for what is cached

        with self._lock:
            if self._opened.registry is None:
                self._opened.registry = self._stack.enter_context(Registry(self.config, self.sink))
            return self._opened.registry

    def lazy(self) -> "LazyFs | None":
        """The lazy file system, or None on a host without FUSE."""
        if self.host is None or not self.host.fuse:
            return None
        with self._lock:
            if self._opened.lazy is None:
                self._opened.lazy = self._start_lazy()
            return self._opened.lazy

    def renew_lazy(self) -> None:
        """Start another lazy file system in place of one that is gone; its mounts stay dead."""
        with self._lock:
            if self._opened.lazy is not None and not self._opened.lazy.alive:
                self._opened.lazy.close()
                self._opened.lazy = self._start_lazy()

    def lost(self) -> threading.Event:
        """Set when the lazy file system that serves now ends before its time."""
        return self._opened.lost

    def unreadable(self) -> threading.Event:
        """Set when a lazy layer could not be read: whatever reads it need not go on."""
        return self._opened.unreadable

    def _start_lazy(self) -> "LazyFs":
        from lazybuild.snapshots.lazyfs import watchdog  # noqa: PLC0415 - not for what is cached
        from lazybuild.snapshots.lazyfs.client import Handlers, LazyFs  # noqa: PLC0415 - likewise

        self._opened.lost = lost = threading.Event()
        self._opened.unreadable = unreadable = threading.Event()
        mountpoint = self._stack.enter_context(self.store.scratch.directory("lazy"))
        handlers = Handlers(
            died=lost.set,
            failed=lambda _: unreadable.set(),
            noted=lambda text: self.sink(Noted(message=text)),
        )
        config = self.config.to_json()
        started = LazyFs.start(mountpoint, self.root, config, handlers=handlers)
        self._stack.callback(started.close)
        watchdog.watch(started, lost, patience=self.config.patience)
        return started

    def ranges(self, layer: Layer, why: str = "direct") -> RangeReader:
        """Random access to a layer's blob: in the store, else at a registry, and then logged."""
        if layer.descriptor is None:
            raise BuildError(f"layer {layer.id} has no blob yet")
        if self.store.blobs.has(layer.descriptor.digest):
            return self.store.blobs.ranges(layer.descriptor.digest)
        if not layer.origins:
            raise self.store.blobs.lost(layer.descriptor.digest)
        found = self.registry().ranges(layer.origins, layer.descriptor)
        with self._lock:
            log = self._opened.logs.setdefault(layer.id, FetchLog())
        return Logged(found, log, why)

    def logs(self) -> Mapping[str, FetchLog]:
        """By the ids of layers, what this process itself asked for of blobs at registries; the lazy
        file system has logs of its own.
        """
        with self._lock:
            return dict(self._opened.logs)

    def blob_stream(self, layer: Layer) -> BinaryIO:
        """A layer's blob from its beginning to its end."""
        if layer.descriptor is None:
            raise BuildError(f"layer {layer.id} has no blob yet")
        if self.store.blobs.has(layer.descriptor.digest):
            return self.store.blobs.open(layer.descriptor.digest)
        from lazybuild.registry import fetch  # noqa: PLC0415 - not for what is lazy or here

        return Pieces(fetch.stream(self.ranges(layer, "whole"), layer.descriptor))

    def kept_stream(self, layer: Layer) -> BinaryIO:
        """As `blob_stream`; what was read to its end is in the store from then on."""
        stream = self.blob_stream(layer)
        if layer.descriptor is None or self.store.blobs.has(layer.descriptor.digest):
            return stream
        return Kept(stream, self.store.blobs.ingest(), layer.descriptor.digest)

    def check(self) -> None:
        """Raise what went wrong when a lazy layer was read, if anything did."""
        lazy = self._opened.lazy
        if lazy is not None and lazy.failures:
            raise lazy.failures[0].error
        if lazy is not None and not lazy.alive:
            raise DaemonDiedError("the process of the lazy file system ended during a step")

    def lazy_if_started(self) -> "LazyFs | None":
        return self._opened.lazy


def _check_addresses() -> None:
    """Refuse what would end anywhere: Python waits for ever for a thread it has no memory for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY and soft < ADDRESSES:
        wanted, given = ADDRESSES >> 20, soft >> 20
        raise ResourceError(
            f"no memory for steps: the limit of {given} MB on address space (`ulimit -v`) is less"
            f" than {wanted} MB",
            hint="raise it; a cgroup's limit on memory does what this one is meant for",
        )


def tier_of(text: str) -> Tier | None:
    """What `--isolation` asks for; the words of other builders mean "choose yourself"."""
    if text in TIERS:
        return text
    if text in ("", "default", "rootless", "oci", "chroot"):
        return None
    raise UsageError(f"--isolation {text}: not a tier", hint=f"{', '.join(TIERS)} can be forced")
