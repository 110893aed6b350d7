"""The compiler's `Resolver`: base images by name, shown as steps that load metadata."""

import threading
from pathlib import Path

from lazybuild.build.collect import task
from lazybuild.dockerfile.options import ResolvedImage
from lazybuild.events import Sink
from lazybuild.llb.ops import Platform
from lazybuild.oci import platform, reference
from lazybuild.oci.reference import Reference
from lazybuild.sources import transports
from lazybuild.sources.images import Images
from lazybuild.store import Store


class ImageResolver:
    """Asks for each image once. A Dockerfile may name one that lies in the directory `root`, its
    context, by its place there.
    """

    def __init__(
        self, images: Images, sink: Sink, *, store: Store, root: Path | None = None
    ) -> None:
        self._images = images
        self._sink = sink
        self._store = store
        self._root = root
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], ResolvedImage] = {}

    def image(self, reference: str, platform: Platform) -> ResolvedImage:
        key = (reference, str(platform))
        with self._lock:
            if key not in self._known:
                with task(self._sink, f"[internal] load metadata for {reference}"):
                    self._known[key] = self._find(reference, platform)
            return self._known[key]

    def _find(self, name: str, want: Platform) -> ResolvedImage:
        local = transports.inside(name, self._root)
        ref = self._taken(local) if local else reference.parse(name)
        found = self._images.find(ref, platform.parse(str(want)))
        return ResolvedImage(
            reference=str(found.reference), digest=found.descriptor.digest, config=found.config
        )

    def _taken(self, local: transports.LocalImage) -> Reference:
        from lazybuild.sources.layouts import take_over  # noqa: PLC0415 - few builds need it

        return local.called(take_over(self._store, local))
