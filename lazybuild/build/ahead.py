"""Fetches what steps will read before they read it: by recorded profiles, else by the landmark and
by what their commands name.

Profiles of the store come first, then those of the base image's repository, which are looked for
in the background while the base is being mounted. A step waits for its own chunks for a short
while; those of the steps after it are fetched while it runs. Nothing here makes a build fail.
"""

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lazybuild.build import profile
from lazybuild.build.accesses import Accesses
from lazybuild.build.profile import Profile, StepReads
from lazybuild.build.space import Space
from lazybuild.errors import LazybuildError
from lazybuild.events import Noted
from lazybuild.llb.graph import Vertex, walk
from lazybuild.llb.ops import ExecOp
from lazybuild.oci import reference
from lazybuild.oci.digest import Digest
from lazybuild.oci.reference import Reference
from lazybuild.oci.transport import HOST

if TYPE_CHECKING:
    from lazybuild.snapshots.lazyfs.client import LazyFs

OFF = "off"
IMPORT_SECONDS = 2.0
SETTLE_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What was fetched of a layer because of profiles: chunks, and bytes of the blob."""

    digest: str
    chunks: int = 0
    bytes: int = 0


class Ahead:
    """`begin` when the graphs are known, `before` each step once its layers are mounted."""

    def __init__(
        self, space: Space, accesses: Accesses, *, source: str = "", background: bool = False
    ) -> None:
        self._space = space
        self._accesses = accesses
        self._from = source
        self._background = background
        self._lock = threading.Lock()
        self._found: dict[str, Future[Profile]] = {}
        self._followers: defaultdict[str, list[Vertex]] = defaultdict(list)
        self._started: set[Digest] = set()
        self._queued: set[tuple[str, ...]] = set()
        self._fetched: dict[str, Fetched] = {}

    def begin(self, heads: Sequence[Vertex]) -> None:
        """Look for what the store does not know. Starts threads: not before the last `enter`."""
        found = {vertex.digest: vertex for head in heads for vertex in walk(head)}
        steps = [vertex for vertex in found.values() if isinstance(vertex.op, ExecOp)]
        for step in steps:
            for earlier in list(profile.root_chain(step))[1:]:
                self._followers[earlier.digest].append(step)
        if self._from == OFF:
            return
        for step in steps:
            base = profile.base_of(step)
            if base is not None and self._accesses.known(profile.keys_of(step)) is None:
                self._look(reference.parse(base.identifier.partition("://")[2]))

    def before(self, vertex: Vertex, layers: Sequence[Digest]) -> None:
        """Fetch what the step reads, then what the steps after it will read."""
        lazy = self._space.lazy_if_started()
        if lazy is None:
            return
        with suppress(LazybuildError):  # whoever reads for real will be told
            mounted = [digest for digest in layers if digest in lazy.stats()]
            if not mounted:
                return
            reads = self.reads(vertex)
            queued = self._want(lazy, reads, mounted)
            self._begin_layers(lazy, mounted, reads.layers if reads else {})
            unknown = [] if reads else [vertex]
            for follower in self._not_yet_queued(vertex, mounted):
                known = self.reads(follower)
                self._want(lazy, known, mounted, later=True)
                unknown += [] if known else [follower]
            if queued:
                lazy.settle(SETTLE_SECONDS)
            self._guess(lazy, unknown, mounted)
            if self._background:
                self._fill(lazy, mounted)

    def reads(self, vertex: Vertex) -> StepReads | None:
        """What is known of a step, here or at registries."""
        keys = profile.keys_of(vertex)
        base = profile.base_of(vertex)
        if not keys or base is None:
            return None
        digest = reference.parse(base.identifier.partition("://")[2]).digest
        return self._accesses.known(keys) or (self.profile(digest).find(keys) if digest else None)

    def profile(self, base: Digest) -> Profile:
        """What was found at registries for a base; waits for it a little."""
        future = self._found.get(base)
        if future is None:
            return Profile()
        try:
            return future.result(IMPORT_SECONDS)
        except TimeoutError:
            return Profile()

    def fetched(self) -> tuple[Fetched, ...]:
        with self._lock:
            return tuple(self._fetched.values())

    # --- queueing --------------------------------------------------------------------------------

    def _want(
        self,
        lazy: "LazyFs",
        reads: StepReads | None,
        mounted: Sequence[Digest],
        *,
        later: bool = False,
    ) -> int:
        queued = 0
        for digest in mounted if reads else ():
            chunks = reads.layers.get(digest, ()) if reads else ()
            if chunks:
                named = [f"sha256:{chunk}" for chunk in chunks]
                size = lazy.prefetch(digest, chunks=named, later=later)
                self._note(digest, len(chunks), size)
                queued += size
        return queued

    def _begin_layers(
        self, lazy: "LazyFs", mounted: Sequence[Digest], known: Mapping[str, object]
    ) -> None:
        """The range before the landmark of layers that no profile speaks of, once for each."""
        for digest in mounted:
            with self._lock:
                new = digest not in self._started
                self._started.add(digest)
            if new and digest not in known:
                lazy.prefetch(digest, landmark=True)
                self._say_what_is_cut(lazy, digest)

    def _say_what_is_cut(self, lazy: "LazyFs", digest: Digest) -> None:
        layer = lazy.stats()[digest]
        if layer.prefetch_end < layer.landmark:
            wanted, done = layer.landmark / 1e6, layer.prefetch_end / 1e6
            text = (
                f"the {wanted:.0f} MB before its landmark are too many, {done:.0f} MB are fetched"
            )
            self._tell(f"layer {digest[:19]}: {text}")

    def _not_yet_queued(self, vertex: Vertex, mounted: Sequence[Digest]) -> list[Vertex]:
        """The steps after this one, each once for the same layers: asking is not free."""
        with self._lock:
            new = [
                later
                for later in self._followers[vertex.digest]
                if (later.digest, *mounted) not in self._queued
            ]
            self._queued |= {(later.digest, *mounted) for later in new}
        return new

    def _guess(self, lazy: "LazyFs", steps: Sequence[Vertex], mounted: Sequence[Digest]) -> None:
        """Of steps that nobody has seen yet the words of the command must do."""
        commands = [step.op.meta.args for step in steps if isinstance(step.op, ExecOp)]
        for digest in mounted if commands else ():
            lazy.prefetch(digest, steps=commands)

    def _fill(self, lazy: "LazyFs", mounted: Sequence[Digest]) -> None:
        for digest in mounted:
            lazy.prefetch(digest, everything=True)

    def _note(self, digest: str, chunks: int, size: int) -> None:
        with self._lock:
            old = self._fetched.get(digest, Fetched(digest=digest))
            self._fetched[digest] = Fetched(
                digest=digest, chunks=old.chunks + chunks, bytes=old.bytes + size
            )

    # --- looking for profiles --------------------------------------------------------------------

    def _look(self, base: Reference) -> None:
        if base.digest is None or base.digest in self._found:
            return
        if base.registry == HOST and not self._from:
            return
        name = reference.parse(self._from).name if self._from else base.name
        future = self._found[base.digest] = Future[Profile]()
        threading.Thread(
            target=self._import, args=(name, base.digest, future), name="profile", daemon=True
        ).start()

    def _import(self, name: str, base: Digest, future: "Future[Profile]") -> None:
        from lazybuild.build import shared_profiles  # noqa: PLC0415 - the registry client

        found = Profile()
        try:
            with shared_profiles.open_registry(self._space.config) as registry:
                found = shared_profiles.find(registry, name, base, self._tell)
        except LazybuildError as error:
            if self._from:
                self._tell(f"no access profile from {name}: {error.message}")
        finally:
            future.set_result(found)
        if found.steps:
            self._tell(f"access profile of {len(found.steps)} steps from {name}")

    def _tell(self, message: str) -> None:
        self._space.sink(Noted(message=message))
