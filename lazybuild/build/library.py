"""Images outside of a build: found by name or digest in the store, else at their registry.

Knows no command line and mounts nothing; `shelf` opens what it finds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lazybuild.build.space import Space
from lazybuild.errors import IntegrityError, UsageError
from lazybuild.estargz.reader import promised
from lazybuild.oci import codec, platform, reference, transport
from lazybuild.oci import digest as digests
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.oci.image import Index, Manifest
from lazybuild.oci.platform import Platform
from lazybuild.oci.reference import Reference
from lazybuild.request import Pull
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.sources import transports
from lazybuild.sources.images import Image, Images
from lazybuild.sources.layouts import take_over
from lazybuild.sources.transports import LocalImage
from lazybuild.store import Layer

MAX_DEPTH = 3
SHORTEST_ID = 4
HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a name stands for. `stored` is False for what only a registry has; `file` says where
    an image is from that was named by its place on this machine.
    """

    reference: Reference
    descriptor: Descriptor
    stored: bool
    file: str = ""


class Library:
    """The images that a space can reach. `pull` asks registries even for what the store has."""

    def __init__(self, space: Space, *, pull: bool = False) -> None:
        self._space = space
        self._pull = pull
        policy = Pull.ALWAYS if pull else Pull.MISSING
        self._images = Images(space.store, space.registry, pull=policy)

    def find(self, text: str) -> Found:
        """By its place on this machine, by name or (part of) a digest in the store, by name at a
        registry.
        """
        local = transports.parse(text)
        if local is not None:
            return self._taken(local)
        name = transport.bare(text)
        found = None if self._pull else self.stored(name)
        return found or self._remote(reference.parse(name))

    def stored(self, text: str) -> Found | None:
        """The image of the store that a name, a digest or the beginning of one stands for."""
        by_digest = self._by_digest(text)
        if by_digest is not None:
            return by_digest
        ref = reference.parse(text)
        descriptor = self._space.store.meta.image(str(ref))
        if descriptor is None:
            return None
        return Found(reference=ref, descriptor=descriptor, stored=True)

    def named(self, text: str) -> Found:
        """As `stored`; UsageError when the store has no such image."""
        found = self.stored(text)
        if found is None:
            raise UsageError(f"{text}: no such image in the store", hint="see lazybuild images")
        return found

    def is_id(self, text: str) -> bool:
        """Whether a text stands for an image of the store by its digest, or a part of that."""
        return self._by_digest(text) is not None

    def image(self, found: Found, want: Platform | None = None) -> Image:
        """The image for one platform, the host's unless another is wanted."""
        document = self.document(found.reference.name, found.descriptor.digest)
        ref = found.reference
        if isinstance(document, Manifest):
            return self._images.load(replace(ref, digest=found.descriptor.digest))
        return self._images.find(
            replace(ref, digest=found.descriptor.digest), want or platform.host()
        )

    def document(self, name: str, digest: Digest) -> Manifest | Index:
        return codec.parse_document(self.raw(name, digest))

    def raw(self, name: str, digest: Digest) -> bytes:
        """A manifest or index as it is, from the store or from the repository `name`."""
        blobs = self._space.store.blobs
        if not blobs.has(digest):
            data, _ = self._space.registry().manifest(name, digest)
            blobs.put(data)
        return blobs.read(digest)

    def manifests(self, found: Found) -> Iterator[tuple[Descriptor, bytes]]:
        """The image's manifests and indexes, children before their parents."""
        yield from self._below(found.reference.name, found.descriptor, 0)

    def layers(self, name: str, descriptors: Sequence[Descriptor]) -> list[Layer]:
        """What the store knows of the layers of a manifest, or would know once it is pulled."""
        return [self._layer(name, descriptor) for descriptor in descriptors]

    def snapshot(self, image: Image) -> Snapshot:
        """The layers of an image. What was made here keeps its origins: none, if none has it."""
        known = [self._known(item) for item in image.manifest.layers]
        if any(layer is None or not self._reachable(layer) for layer in known):
            return self._images.snapshot(image)
        return Snapshot(tuple(layer.id for layer in known if layer is not None))

    # --- below -----------------------------------------------------------------------------------

    def _taken(self, local: LocalImage) -> Found:
        digest = take_over(self._space.store, local)
        data = self._space.store.blobs.read(digest)
        descriptor = codec.describe(codec.parse_document(data), data)
        ref = local.called(digest)
        return Found(reference=ref, descriptor=descriptor, stored=True, file=str(local))

    def _remote(self, ref: Reference) -> Found:
        blobs = self._space.store.blobs
        if ref.digest and blobs.has(ref.digest):
            data = blobs.read(ref.digest)
            descriptor = codec.describe(codec.parse_document(data), data)
            return Found(reference=ref, descriptor=descriptor, stored=False)
        found = self._space.registry().document(ref)
        blobs.put(found.data)
        return Found(reference=ref, descriptor=found.descriptor, stored=False)

    def _by_digest(self, text: str) -> Found | None:
        part = text.removeprefix("sha256:")
        if len(part) < SHORTEST_ID or not set(part) <= HEX:
            return None
        hits = {
            descriptor.digest: Found(
                reference=reference.parse(name), descriptor=descriptor, stored=True
            )
            for name, (descriptor, _) in self._space.store.meta.images().items()
            if self._is_called(descriptor, part)
        }
        if len(hits) > 1:
            raise UsageError(f"{text}: {len(hits)} images begin with it", hint="give more of it")
        return next(iter(hits.values()), None)

    def _is_called(self, descriptor: Descriptor, part: str) -> bool:
        if digests.hex_part(descriptor.digest).startswith(part):
            return True
        if not self._space.store.blobs.has(descriptor.digest):
            return False
        document = codec.parse_document(self._space.store.blobs.read(descriptor.digest))
        if isinstance(document, Index):
            return False
        return digests.hex_part(document.config.digest).startswith(part)

    def _below(
        self, name: str, descriptor: Descriptor, depth: int
    ) -> Iterator[tuple[Descriptor, bytes]]:
        if depth > MAX_DEPTH:
            raise IntegrityError(f"{name}: more than {MAX_DEPTH} indexes in one another")
        data = self.raw(name, descriptor.digest)
        document = codec.parse_document(data)
        if isinstance(document, Index):
            for child in document.manifests:
                yield from self._below(name, child, depth + 1)
        yield replace(descriptor, media_type=document.media_type), data

    def _layer(self, name: str, descriptor: Descriptor) -> Layer:
        known = self._known(descriptor)
        if known is not None:
            return known
        origins = () if self._space.store.blobs.has(descriptor.digest) else (name,)
        return Layer(id=digests.hex_part(descriptor.digest), descriptor=descriptor, origins=origins)

    def _known(self, descriptor: Descriptor) -> Layer | None:
        toc_digest = promised(descriptor.annotations) or None
        return self._space.store.meta.layer_of(descriptor.digest, toc_digest)

    def _reachable(self, layer: Layer) -> bool:
        if layer.directory or layer.origins:
            return True
        return layer.descriptor is not None and self._space.store.blobs.has(layer.descriptor.digest)
