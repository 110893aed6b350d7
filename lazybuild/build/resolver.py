"""The compiler's `Resolver`: base images by name, shown as steps that load metadata."""

import threading

from lazybuild.build.collect import task
from lazybuild.dockerfile.options import ResolvedImage
from lazybuild.events import Sink
from lazybuild.llb.ops import Platform
from lazybuild.oci import platform, reference
from lazybuild.sources.images import Images


class ImageResolver:
    """Asks for each image once."""

    def __init__(self, images: Images, sink: Sink) -> None:
        self._images = images
        self._sink = sink
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
        found = self._images.find(reference.parse(name), platform.parse(str(want)))
        return ResolvedImage(
            reference=str(found.reference), digest=found.descriptor.digest, config=found.config
        )
