"""Where a cache lies: at a registry, or in a directory that is an OCI image layout.

An edge. A place gives a verified document and knows how each of its layers is had; what a record
means is not its business. Thread rule: a place may be used from any thread.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from lazybuild.errors import IntegrityError
from lazybuild.exchange import document
from lazybuild.exchange.document import CacheDocument
from lazybuild.exporters.base import ImageBlob
from lazybuild.oci import codec, platform
from lazybuild.oci.descriptor import OCI_EMPTY, OCI_MANIFEST, Descriptor
from lazybuild.oci.digest import of
from lazybuild.oci.image import Index, Manifest
from lazybuild.oci.reference import Reference
from lazybuild.store import Layer, Store

if TYPE_CHECKING:
    from lazybuild.registry.client import Registry

OpenLayer = Callable[[Layer], BinaryIO]


class Place(Protocol):
    """One `--cache-from` or `--cache-to`."""

    @property
    def title(self) -> str: ...

    @property
    def origins(self) -> tuple[str, ...]:
        """The repositories that have the cache's own layers; none when they have to be fetched."""
        ...

    def open(self) -> tuple[Manifest, bytes]:
        """The manifest and its config, verified."""
        ...

    def fetch(self, descriptor: Descriptor) -> None:
        """A layer of the cache into the store, verified."""
        ...

    def write(self, manifest: Manifest, config: bytes, layers: Sequence[Layer]) -> None: ...


class RegistryPlace:
    """A manifest at a registry: a cache of its own, or an image with a cache inside."""

    def __init__(self, registry: "Callable[[], Registry]", ref: Reference, store: Store) -> None:
        self._registry = registry
        self._ref = ref
        self._store = store

    @property
    def title(self) -> str:
        return self._ref.familiar

    @property
    def origins(self) -> tuple[str, ...]:
        return (self._ref.name,)

    def open(self) -> tuple[Manifest, bytes]:
        manifest = self._manifest()
        if manifest.config.size > document.MAX_BYTES:
            raise IntegrityError(f"{self.title}: a config of {manifest.config.size} bytes")
        return manifest, self._blob(manifest.config)

    def fetch(self, descriptor: Descriptor) -> None:
        with self._store.blobs.flight(descriptor.digest):
            if self._store.blobs.has(descriptor.digest):
                return
            with self._store.blobs.ingest() as ingest:
                self._registry().fetch_blob(self._ref.name, descriptor, ingest.write)
                ingest.commit(descriptor.digest)

    def write(self, manifest: Manifest, config: bytes, layers: Sequence[Layer]) -> None:
        from lazybuild.registry import push  # noqa: PLC0415 - few builds need it

        blobs = [push.Blob(descriptor=manifest.config, source=push.from_bytes(config))]
        for descriptor, layer in zip(manifest.layers, layers, strict=True):
            source = None
            if self._store.blobs.has(descriptor.digest):
                source = push.from_place(self._store.blobs.place(descriptor.digest))
            blobs.append(push.Blob(descriptor=descriptor, source=source, origins=layer.origins))
        tags = (self._ref.tag,) if self._ref.tag else ()
        top = push.ManifestToPush(data=codec.encode(manifest), media_type=OCI_MANIFEST, tags=tags)
        push.push(self._registry(), self._ref.name, blobs, [top])

    def _manifest(self) -> Manifest:
        found = codec.parse_document(self._registry().document(self._ref).data)
        if isinstance(found, Index):
            chosen = platform.choose(found.manifests, platform.host())
            if chosen is None:
                raise IntegrityError(f"{self.title}: no image for {platform.host()}")
            data, _ = self._registry().manifest(self._ref, chosen.digest)
            found = codec.parse_manifest(data)
        return found

    def _blob(self, descriptor: Descriptor) -> bytes:
        data = bytearray()
        self._registry().fetch_blob(self._ref.name, descriptor, data.extend)
        return bytes(data)


class DirectoryPlace:
    """A directory of this machine, an OCI image layout whose entries have tags."""

    def __init__(
        self, folder: Path, tag: str, store: Store, open_layer: OpenLayer, digest: str = ""
    ) -> None:
        from lazybuild.exchange.layout import Layout  # noqa: PLC0415 - few builds need it

        self._layout = Layout(folder)
        self._folder = folder
        self._tag = tag
        self._digest = digest
        self._store = store
        self._open_layer = open_layer

    @property
    def title(self) -> str:
        return str(self._folder)

    @property
    def origins(self) -> tuple[str, ...]:
        return ()

    def open(self) -> tuple[Manifest, bytes]:
        manifest = codec.parse_manifest(self._layout.manifest(self._tag, self._digest))
        return manifest, self._layout.read(manifest.config.digest, document.MAX_BYTES)

    def fetch(self, descriptor: Descriptor) -> None:
        with self._store.blobs.ingest() as ingest:
            self._layout.copy(descriptor, ingest.write)
            ingest.commit(descriptor.digest)

    def write(self, manifest: Manifest, config: bytes, layers: Sequence[Layer]) -> None:
        blobs = [
            ImageBlob(descriptor=descriptor, open=partial(self._open_layer, layer))
            for descriptor, layer in zip(manifest.layers, layers, strict=True)
        ]
        self._layout.write(codec.encode(manifest), config, blobs, self._tag)


def understood(manifest: Manifest, config: bytes) -> CacheDocument:
    """The cache that a manifest and its config are or hold."""
    if manifest.config.media_type == document.CONFIG:
        return document.parse(config, manifest)
    if manifest.config.media_type == OCI_EMPTY:
        raise IntegrityError("an artifact that is no cache of lazybuild")
    return document.parse_inline(codec.parse_config(config), manifest)


def manifest_of(config: bytes, layers: Sequence[Descriptor]) -> Manifest:
    """The manifest of a cache; the same cache has the same digest."""
    return Manifest(
        artifact_type=document.ARTIFACT,
        config=Descriptor(media_type=document.CONFIG, digest=of(config), size=len(config)),
        layers=tuple(layers),
    )
