"""Images as sources: from a reference to manifest, config and layers, without fetching a layer.

The store is asked first, unless a pull is wanted; then the registry. What was found by name is
remembered, so that the next build needs no network. Knows no solver and no Dockerfile.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lazybuild.errors import BuildError, IntegrityError, UsageError
from lazybuild.estargz.reader import promised
from lazybuild.oci import codec, platform
from lazybuild.oci import digest as digests
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.oci.image import ImageConfig, Index, Manifest
from lazybuild.oci.platform import Platform
from lazybuild.oci.reference import Reference
from lazybuild.oci.transport import HOST
from lazybuild.request import Pull
from lazybuild.snapshots.snapshot import Snapshot
from lazybuild.store import Layer, Store

if TYPE_CHECKING:
    from lazybuild.registry.client import Registry

MEMO = "resolved"
NAMED = "named"  # of a layer with a TOC, the image that it was last seen in
CONFIG_LIMIT = 4 << 20
MAX_DEPTH = 3
FOREIGN = ("nondistributable", "foreign")  # in media types of layers
ENCRYPTED = "+encrypted"  # at their end (containers/ocicrypt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image for one platform. `reference` has the digest of the manifest."""

    reference: Reference
    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig


class Images:
    """`registry` opens the registry when it is needed."""

    def __init__(
        self, store: Store, registry: "Callable[[], Registry]", *, pull: Pull = Pull.MISSING
    ) -> None:
        self._store = store
        self._registry = registry
        self._pull = pull

    def find(self, ref: Reference, want: Platform) -> Image:
        """The image that a reference names for a platform."""
        digest = self._known(ref, want)
        if digest is None:
            digest = self._ask(ref, want)
            self._store.meta.memo_put(MEMO, f"{ref} {want}", digest)
        return self.load(replace(ref, digest=digest))

    def has(self, ref: Reference, want: Platform) -> bool:
        """Whether `find` would need no network for the manifest."""
        return self._known(ref, want) is not None

    def load(self, ref: Reference) -> Image:
        """The image of a manifest that is known by digest."""
        if ref.digest is None:
            raise UsageError(f"{ref}: no digest")
        data = self._document(ref.name, ref.digest)
        manifest = codec.parse_document(data)
        if isinstance(manifest, Index):
            raise IntegrityError(f"{ref}: an index where a manifest should be")
        config = codec.parse_config(self._config(ref.name, manifest.config))
        if len(config.diff_ids) != len(manifest.layers):
            raise IntegrityError(
                f"{ref}: {len(manifest.layers)} layers, but {len(config.diff_ids)} diff IDs"
            )
        if self._pull is Pull.NEVER:
            self._need_layers(ref, manifest)
        self._remember_name(ref, manifest)
        descriptor = Descriptor(media_type=manifest.media_type, digest=ref.digest, size=len(data))
        return Image(reference=ref, descriptor=descriptor, manifest=manifest, config=config)

    def snapshot(self, image: Image) -> Snapshot:
        """The layers of an image, known to the store from now on; none is fetched."""
        pairs = zip(image.manifest.layers, image.config.diff_ids, strict=True)
        return Snapshot(
            tuple(
                self._layer(image.reference, descriptor, digests.DiffID(diff_id))
                for descriptor, diff_id in pairs
            )
        )

    def _layer(self, ref: Reference, descriptor: Descriptor, diff_id: digests.DiffID) -> str:
        if any(word in descriptor.media_type for word in FOREIGN):
            raise BuildError(f"layer {descriptor.digest} is foreign: no registry may hand it out")
        if descriptor.media_type.endswith(ENCRYPTED):
            raise BuildError(f"layer {descriptor.digest} is encrypted, and there is no key for it")
        toc_digest = promised(descriptor.annotations) or None
        known = self._store.meta.layer_of(descriptor.digest, toc_digest)
        if known is None:
            known = Layer(
                id=layer_id(self._store, descriptor.digest, toc_digest),
                descriptor=descriptor,
                diff_id=diff_id,
                toc_digest=toc_digest,
                ordered=True,
                origins=() if self._store.blobs.has(descriptor.digest) else (ref.name,),
            )
            self._store.meta.put_layer(known)
        if known.diff_id not in (None, diff_id):
            raise IntegrityError(f"{descriptor.digest}: two diff IDs, {known.diff_id}, {diff_id}")
        if ref.name not in known.origins and self._is_at(ref, known):
            self._store.meta.put_layer(replace(known, origins=(*known.origins, ref.name)))
        return known.id

    def _is_at(self, ref: Reference, layer: Layer) -> bool:
        """Whether an image's repository is one more place to have a known layer from. One that was
        made here may be in none; one that was in a file and is no more there has to be in it,
        unless the image itself is known from this store only.
        """
        if ref.registry == HOST or layer.descriptor is None:
            return False
        if layer.origins:
            return True
        tagged = self._store.meta.image(str(replace(ref, digest=None)))
        return tagged is None and not self._store.blobs.has(layer.descriptor.digest)

    # --- manifests -------------------------------------------------------------------------------

    def _known(self, ref: Reference, want: Platform) -> Digest | None:
        if ref.digest and self._store.blobs.has(ref.digest):
            data = self._store.blobs.read(ref.digest)
            pinned = codec.describe(codec.parse_document(data), data)
            return self._select(ref, pinned, want, 0)
        return self._pinned(ref, want) or self._tagged(ref, want) or self._remembered(ref, want)

    def _pinned(self, ref: Reference, want: Platform) -> Digest | None:
        """What a digest names never changes, so no registry need be asked for what is here."""
        if ref.digest is None or not self._store.blobs.has(ref.digest):
            return None
        data = self._document(ref.name, ref.digest)
        return self._select(ref, codec.describe(codec.parse_document(data), data), want, 0)

    def _tagged(self, ref: Reference, want: Platform) -> Digest | None:
        """The image that has this name in the store."""
        always = self._pull is Pull.ALWAYS
        tagged = None if always else self._store.meta.image(str(ref))
        return self._select(ref, tagged, want, 0) if tagged else None

    def _remembered(self, ref: Reference, want: Platform) -> Digest | None:
        """What the registry said of the name the last time."""
        always = self._pull is Pull.ALWAYS
        found = None if always else self._store.meta.memo_get(MEMO, f"{ref} {want}")
        if found and self._store.blobs.has(digests.parse(found)):
            return digests.parse(found)
        return None

    def _remember_name(self, ref: Reference, manifest: Manifest) -> None:
        """Of layers with a TOC: it may lie in another image, which is called after this one."""
        meta, name = self._store.meta, f"{ref.name}:{ref.tag}"
        for layer in manifest.layers if ref.tag else ():
            if promised(layer.annotations) and meta.memo_get(NAMED, layer.digest) != name:
                meta.memo_put(NAMED, layer.digest, name)

    def _need_layers(self, ref: Reference, manifest: Manifest) -> None:
        for layer in manifest.layers:
            known = self._store.meta.layer_of(layer.digest, promised(layer.annotations) or None)
            if not self._store.blobs.has(layer.digest) and not (known and known.directory):
                self._asked(f"{ref.familiar}: layer {layer.digest[:19]}")

    def _asked(self, what: str) -> "Registry":
        """The registry, for what is not here."""
        if self._pull is Pull.NEVER:
            raise BuildError(
                f"{what} is not in the store, and --pull=never asks no registry",
                hint="lazybuild pull --whole brings an image with its layers",
            )
        return self._registry()

    def _ask(self, ref: Reference, want: Platform) -> Digest:
        found = self._asked(ref.familiar).document(ref)
        self._store.blobs.put(found.data)
        return self._select(ref, found.descriptor, want, 0)

    def _select(self, ref: Reference, found: Descriptor, want: Platform, depth: int) -> Digest:
        """From an index to the manifest for the platform."""
        document = codec.parse_document(self._document(ref.name, found.digest))
        if isinstance(document, Manifest):
            return found.digest
        chosen = platform.choose(document.manifests, want)
        if chosen is None or depth >= MAX_DEPTH:
            raise BuildError(
                f"{ref.familiar}: no image for {want}", hint=f"it has {platforms_of(document)}"
            )
        return self._select(ref, chosen, want, depth + 1)

    def _document(self, name: str, digest: Digest) -> bytes:
        if not self._store.blobs.has(digest):
            data, _ = self._asked(f"{name}@{digest}").manifest(name, digest)
            self._store.blobs.put(data)
        with self._store.blobs.open(digest) as file:
            return file.read()

    def _config(self, name: str, descriptor: Descriptor) -> bytes:
        if descriptor.size > CONFIG_LIMIT:
            raise IntegrityError(f"{descriptor.digest}: an image config of {descriptor.size} bytes")
        if not self._store.blobs.has(descriptor.digest):
            with self._store.blobs.ingest() as ingest:
                self._asked(f"{name}, its config").fetch_blob(name, descriptor, ingest.write)
                ingest.commit(descriptor.digest)
        with self._store.blobs.open(descriptor.digest) as file:
            return file.read()


def layer_id(store: Store, digest: Digest, toc_digest: str | None) -> str:
    """For a new layer: its blob's digest, unless one with another TOC has that id.

    Who reads lazily can't see whether a TOC and a blob belong together, so what a stranger's
    manifest says of a blob must not be taken for what another image's manifest says.
    """
    name = digests.hex_part(digest)
    if not store.meta.has_layer(name):
        return name
    return digests.hex_part(digests.of(f"{digest} {toc_digest or ''}".encode()))


def platforms_of(index: Index) -> str:
    found = [str(platform.from_json(item.platform or {})) for item in index.manifests]
    return ", ".join(name for name in found if name != "unknown/unknown") or "nothing"
