"""`LazyFs`: the build's handle on the process that serves lazy layers.

Starts `daemon` with exec, talks to it over a socket pair, notices its death, and cleans up after
it. Holds no layer's bytes and mounts nothing itself. Safe to use from any thread; calls that need
the network block only their caller.
"""

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import lazybuild
from lazybuild.errors import DaemonDiedError, LazybuildError
from lazybuild.linux import syscalls
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.snapshots.lazyfs import messages
from lazybuild.snapshots.lazyfs.messages import Body, LayerJournal, LayerStats, Reply, Request
from lazybuild.store import Place

_START_TIMEOUT, _PING_TIMEOUT, _END_TIMEOUT = 30.0, 10.0, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFailure:
    """A read of a lazy layer that got EIO: `error` says why, the step can't be trusted."""

    digest: str
    path: str
    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """What to call, from a thread of this module: keep it short."""

    failed: Callable[[ReadFailure], None] | None = None
    died: Callable[[], None] | None = None
    noted: Callable[[str], None] | None = None


class LazyFs:
    """One mounted lazy file system. `start` it inside the mount namespace of the build."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", control: socket.socket, mountpoint: Path,
        handlers: Handlers,
    ) -> None:  # fmt: skip
        self.mountpoint = mountpoint
        self.failures: list[ReadFailure] = []
        self._process, self._control, self._handlers = process, control, handlers
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._calls: dict[int, Future[Reply]] = {}
        self._closing = self._dead = False
        self._started: Future[Reply] | None = None
        self._listener = threading.Thread(target=self._listen, name="lazyfs-client", daemon=True)
        self._listener.start()

    @classmethod
    def start(
        cls, mountpoint: Path, store: Path, registry: str, *, handlers: Handlers | None = None
    ) -> Self:
        """Start the daemon, which mounts its file system below `mountpoint`.

        `registry` is `RegistryConfig.to_json()`. The first call of another method waits for the
        mount, and raises HostError when the host can't mount FUSE.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "lazybuild.snapshots.lazyfs.daemon", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                cwd="/",
                env=_environment(),
                start_new_session=True,  # a terminal's ^C is the build's to handle
            )
        self = cls(process, ours, mountpoint, handlers or Handlers())
        try:
            body = messages.Start(mountpoint=str(mountpoint), store=str(store), registry=registry)
            self._started = self._ask(body)
        except BaseException:
            self.close()
            raise
        return self

    # layers

    def add(
        self, descriptor: Descriptor, toc_digest: str, *, origins: Sequence[str] = (),
        blob: Place | None = None, unverified: bool = False, toc: Path | None = None,
    ) -> tuple[Path | None, str]:  # fmt: skip
        """(the layer's folder, "") or (None, why it can't be lazy).

        The blob is at `origins`, full repository names, or in a local file at `blob`. With
        `unverified` a layer is lazy even if no manifest vouches for its TOC. A TOC that lies in
        another image is in the file `toc`; without that file the reason is `ELSEWHERE`.
        """
        reply = self._call(
            messages.Add(
                digest=descriptor.digest,
                size=descriptor.size,
                media_type=descriptor.media_type,
                annotations=dict(descriptor.annotations),
                toc_digest=toc_digest,
                origins=tuple(origins),
                blob=blob.path if blob else "",
                offset=blob.offset if blob else 0,
                length=blob.size if blob else 0,
                unverified=unverified,
                toc=str(toc or ""),
            )
        )
        return (Path(reply.path) if reply.path else None), reply.reason

    def prefetch(
        self, digest: Digest, *, names: Iterable[str] = (), chunks: Iterable[str] = (),
        landmark: bool = False, everything: bool = False, steps: Iterable[Sequence[str]] = (),
        later: bool = False,
    ) -> int:  # fmt: skip
        """Queue files, chunks, the writer's prefetch range, or all; returns the bytes to fetch.

        With `later` they come behind all that is queued without it. What the commands of `steps`
        will read is guessed and comes in the order of the steps.
        """
        body = messages.Prefetch(
            digest=digest,
            names=tuple(names),
            chunks=tuple(chunks),
            landmark=landmark,
            everything=everything,
            steps=tuple(map(tuple, steps)),
            later=later,
        )
        return self._call(body).number

    def settle(self, seconds: float) -> bool:
        """Wait until all that is not for later is here; False when that takes longer."""
        return bool(self._call(messages.Settle(seconds=seconds)).number)

    def probe(self, digest: Digest) -> None:
        """Read one byte of the blob where it comes from. RegistryError when that can't be done."""
        self._call(messages.Probe(digest=digest))

    def whole(self, digest: Digest) -> Path:
        """Fetch the whole blob into the store, verified, and read from there from now on."""
        return Path(self._call(messages.Whole(digest=digest)).path)

    # figures

    def stats(self) -> Mapping[str, LayerStats]:
        return {layer.digest: layer for layer in self._call(messages.Stats()).layers}

    def trace(self, start: int = 0) -> list[tuple[str, str]]:
        """(layer digest, path) of files in the order of first reads, from the `start`-th on."""
        return list(self._call(messages.Trace(start=start)).trace)

    def chunks_read(self, digest: Digest) -> list[str]:
        """Digests of the chunks of a layer that were read, in order of first reads."""
        return list(self._call(messages.ChunksRead(digest=digest)).chunks)

    def journal(self, digest: Digest) -> LayerJournal:
        """What was fetched of a layer and when, and its blob as cells."""
        found = self._call(messages.Journal(digest=digest)).journal
        if found is None:
            raise RuntimeError("the daemon answered with something else")
        return found

    def ping(self) -> float:
        """Age in seconds of the oldest read that waits; raises when the daemon does not answer."""
        return self._call(messages.Ping(), _PING_TIMEOUT).oldest

    @property
    def alive(self) -> bool:
        return not self._dead and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    # the end

    def close(self) -> None:
        """End the daemon and leave no mount behind, whatever state it is in. May be repeated."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(_END_TIMEOUT)
        self._control.close()
        self._unmount()

    def kill(self) -> None:
        """End a daemon that hangs: every read that waits for it fails at once."""
        self._process.kill()

    def _unmount(self) -> None:
        """The daemon does it when it can; after SIGKILL dead mounts are left."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.mountpoint):
                while _detached(self.mountpoint / name):
                    pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # the socket

    def _call(self, body: Body, timeout: float | None = None) -> Reply:
        if self._started is not None:
            _answer(self._started, _START_TIMEOUT)
        return _answer(self._ask(body), timeout)

    def _ask(self, body: Body) -> "Future[Reply]":
        number, future = next(self._ids), Future[Reply]()
        with self._lock:
            if self._dead:
                raise _death()
            self._calls[number] = future
            try:
                self._control.sendall(messages.encode(Request(id=number, body=body)))
            except OSError as error:
                raise _death() from error
        return future

    def _listen(self) -> None:
        with contextlib.suppress(OSError), self._control.makefile("rb") as lines:
            for line in lines:
                self._take(messages.decode_reply(line))
        self._bury()

    def _take(self, reply: Reply) -> None:
        if reply.note:
            if self._handlers.noted is not None:
                self._handlers.noted(reply.note)
            return
        if reply.id == 0 and reply.fault is not None:
            error = messages.raised(reply.fault)
            failure = ReadFailure(digest=reply.digest, path=reply.name, error=error)
            self.failures.append(failure)
            if self._handlers.failed is not None:
                self._handlers.failed(failure)
            return
        with self._lock:
            future = self._calls.pop(reply.id, None)
        if future is not None:
            future.set_result(reply)

    def _bury(self) -> None:
        with self._lock:
            self._dead = True
            calls, self._calls = list(self._calls.values()), {}
        for future in calls:
            future.set_exception(_death())
        if not self._closing and self._handlers.died is not None:
            self._handlers.died()


def _answer(future: "Future[Reply]", timeout: float | None) -> Reply:
    try:
        reply = future.result(timeout)
    except TimeoutError as error:
        raise DaemonDiedError("the lazy file system does not answer") from error
    if reply.fault is not None:
        raise messages.raised(reply.fault)
    return reply


def _death() -> LazybuildError:
    return DaemonDiedError(
        "the lazy file system's process ended unexpectedly",
        hint="the step runs again; if it happens often, memory may be short",
    )


def _detached(path: Path) -> bool:
    try:
        syscalls.umount(path, syscalls.MNT_DETACH)
    except OSError:
        return False
    return True


# Memory of chunks is used again, not given back and cleared anew for each: mallopt(3).
_MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(96 << 20),
}


def _environment() -> dict[str, str]:
    """Ours, and the place lazybuild was imported from: the daemon starts in another folder."""
    home = str(Path(lazybuild.__file__).parent.parent)
    known = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join([home, *filter(None, known.split(os.pathsep))])
    return {**os.environ, "PYTHONPATH": path, **_MALLOC}
