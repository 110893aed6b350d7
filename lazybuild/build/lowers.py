"""Layer by layer, how a lower directory is had: lazily when it can be, else eagerly and why."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lazybuild.build.space import Space
from lazybuild.errors import HostError
from lazybuild.estargz import footer
from lazybuild.estargz.entry import Item
from lazybuild.estargz.footer import Layout
from lazybuild.events import Noted, Warned
from lazybuild.oci.descriptor import Descriptor
from lazybuild.snapshots.lazyfs.messages import ELSEWHERE
from lazybuild.snapshots.lowers import EagerLower
from lazybuild.store import Layer
from lazybuild.worker.services import NamespaceNeededError

if TYPE_CHECKING:
    from lazybuild.snapshots.lazyfs.client import LazyFs


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """`mode` is lazy or eager; sizes in bytes."""

    layer_id: str
    digest: str
    mode: str
    reason: str = ""
    size: int = 0


class Lowers:
    """A `LowerSource` that keeps account. `require_lazy` makes eager an error; `allow_unverified`
    reads layers lazily whose table of contents no manifest vouches for; `keep_blobs` keeps the
    blobs of those that are unpacked.
    """

    def __init__(
        self,
        space: Space,
        *,
        require_lazy: bool = False,
        allow_unverified: bool = False,
        keep_blobs: bool = False,
    ) -> None:
        self._space = space
        fetch = space.kept_stream if keep_blobs else space.blob_stream
        self._eager = EagerLower(space.store, fetch, self._ended)
        self._require_lazy = require_lazy
        self._unverified = allow_unverified
        self._lock = threading.Lock()
        self._showing: dict[str, threading.Lock] = {}
        self._modes: dict[str, Mode] = {}
        self._shown: dict[tuple[int, str], tuple[str | None, tuple[Path | None, str]]] = {}

    def path(self, layer: Layer) -> Path:
        if not self._space.inside:
            raise NamespaceNeededError(layer.id)
        found, reason = self._lazily(layer)
        if found is None:
            return self._eagerly(layer, reason)
        self._note_lazy(layer)
        return found

    def need_inside(self) -> None:
        """Raise unless the process stands where the ids of a layer's directory mean themselves."""
        if not self._space.inside:
            raise NamespaceNeededError("a layer's directory")

    def folder(self, layer: Layer) -> Path | None:
        """Where a layer is mounted lazily; None outside, or when it has to be fetched whole."""
        if not self._space.inside:
            return None
        found, _ = self._lazily(layer)
        if found is not None:
            self._note_lazy(layer)
        return found

    def modes(self) -> tuple[Mode, ...]:
        """What was decided for layers that came from outside, in the order of the decisions."""
        with self._lock:
            return tuple(self._modes.values())

    def _lazily(self, layer: Layer) -> tuple[Path | None, str]:
        lazy = self._space.lazy()
        if lazy is None:
            return None, "no FUSE on this host"
        if layer.descriptor is None or not (layer.toc_digest or self._unverified):
            return None, "not eStargz"
        with self._lock:
            one = self._showing.setdefault(layer.descriptor.digest, threading.Lock())
        with one:
            return self._added(lazy, layer, layer.descriptor)

    def _added(
        self, lazy: "LazyFs", layer: Layer, descriptor: Descriptor
    ) -> tuple[Path | None, str]:
        blobs, digest = self._space.store.blobs, descriptor.digest
        toc_digest, known = self._shown.get((lazy.pid, digest), (layer.toc_digest, None))
        if toc_digest != layer.toc_digest:
            return None, "another image of this build has another TOC for the same blob"
        if known is None:
            blob = blobs.place(digest) if blobs.has(digest) else None
            if blob is None and not layer.origins:
                raise blobs.lost(digest)
            add = partial(
                lazy.add,
                descriptor,
                layer.toc_digest or "",
                origins=layer.origins,
                blob=blob,
                unverified=self._unverified,
            )
            known = add()
            if known[1] == ELSEWHERE:
                from lazybuild.build import external  # noqa: PLC0415 - few layers need it

                toc, reason = external.fetch(self._space, layer)
                known = add(toc=blobs.path(toc)) if toc else (None, reason)
            self._shown[lazy.pid, digest] = layer.toc_digest, known
        return known

    def entries(self, layer: Layer) -> Iterator[Item]:
        self._demand(layer, "layers can't be mounted here")
        return self._eager.entries(layer)

    def _eagerly(self, layer: Layer, reason: str) -> Path:
        self._demand(layer, reason)
        return self._eager.path(layer)

    def _demand(self, layer: Layer, reason: str) -> None:
        self._note(layer, "eager", reason)
        if self._require_lazy and self._is_from_outside(layer):
            raise HostError(
                f"layer {digest_of(layer)} can't be read lazily: {reason}",
                hint="leave --require-lazy out, or convert the base with lazybuild convert",
            )

    def _note_lazy(self, layer: Layer) -> None:
        new = self._note(layer, "lazy", "" if layer.toc_digest else "unverified")
        if new and not layer.toc_digest:
            text = f"layer {digest_of(layer)[:19]} is read unverified: nobody vouches for its files"
            self._space.sink(Warned(message=text))

    def _ended(self, layer: Layer, tail: bytes) -> None:
        """Say of a layer that was unpacked whether it could have been lazy, once that is known."""
        size = layer.descriptor.size if layer.descriptor else 0
        found = None if layer.toc_digest else footer.parse(tail, size)
        if found is None:
            return
        reason = unvouched(found.layout)
        with self._lock:
            if mode := self._modes.get(digest_of(layer)):
                self._modes[mode.digest] = replace(mode, reason=reason)
        self._space.sink(Noted(message=f"layer {digest_of(layer)[:19]}: eager: {reason}"))

    def _note(self, layer: Layer, mode: str, reason: str) -> bool:
        """Whether this was news."""
        if not self._is_from_outside(layer):
            return False
        digest = digest_of(layer)
        with self._lock:
            if digest in self._modes:
                return False
            size = layer.descriptor.size if layer.descriptor else 0
            made = Mode(layer_id=layer.id, digest=digest, mode=mode, reason=reason, size=size)
            self._modes[digest] = made
        why = f": {reason}" if reason else ""
        self._space.sink(Noted(message=f"layer {digest[:19]} {size / 1e6:.0f} MB: {mode}{why}"))
        return True

    def _is_from_outside(self, layer: Layer) -> bool:
        """Whether the blob is at a registry or in a file of the user's."""
        blobs = self._space.store.blobs
        return bool(layer.origins) or (
            layer.descriptor is not None
            and not blobs.keeps(layer.descriptor.digest)
            and blobs.has(layer.descriptor.digest)
        )


def unvouched(layout: Layout) -> str:
    """Why a layer with a table of contents is not lazy, and what would make it so."""
    if layout is Layout.EXTERNAL:
        return "its table of contents is in another image"
    what = "legacy stargz, which has no digests"
    if layout is not Layout.LEGACY:
        what = f"{layout}, but its manifest vouches for no TOC"
    return f"{what} (--allow-unverified)"


def digest_of(layer: Layer) -> str:
    return layer.descriptor.digest if layer.descriptor else layer.id
