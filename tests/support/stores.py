"""Small stores and images in them, for tests of the store and of what stands on it."""

import gzip
import os
from pathlib import Path

from lazybuild.oci import codec, digest
from lazybuild.oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, Descriptor
from lazybuild.oci.digest import DiffID
from lazybuild.oci.image import ImageConfig, Manifest
from lazybuild.store import Layer, Store

AGES_AGO = 1_000_000_000


def put_layer(store: Store, content: bytes, layer_id: str) -> Layer:
    """A layer with a blob; its content is no tar, which the store does not care about."""
    blob = gzip.compress(content, mtime=0)
    descriptor = Descriptor(media_type=OCI_LAYER_GZIP, digest=store.blobs.put(blob), size=len(blob))
    layer = Layer(id=layer_id, descriptor=descriptor, diff_id=DiffID(digest.of(content)))
    store.meta.put_layer(layer)
    return layer


def put_image(store: Store, name: str, *contents: bytes) -> Descriptor:
    """An image with a layer for each content, committed in the order of a build."""
    layers = [put_layer(store, content, f"{digest.of(content)[7:]}") for content in contents]
    config = codec.encode(ImageConfig(diff_ids=tuple(layer.diff_id for layer in layers)))
    described = Descriptor(media_type=OCI_CONFIG, digest=store.blobs.put(config), size=len(config))
    manifest = Manifest(config=described, layers=tuple(layer.descriptor for layer in layers))
    store.blobs.put(codec.encode(manifest))
    store.tag(name, codec.describe(manifest))
    return codec.describe(manifest)


def age(store: Store) -> None:
    """Make everything in the store look as if it had last been used ages ago."""
    for folder in ("blobs/sha256", "places", "tmp", "snapshots", "cache-mounts"):
        for path in (store.root / folder).iterdir():
            os.utime(path, (AGES_AGO, AGES_AGO), follow_symlinks=False)
    with store.meta._write() as db:
        for table in ("layers", "records", "memos", "files"):
            db.execute(f"UPDATE {table} SET used = {AGES_AGO}")


def names_in(root: Path) -> set[str]:
    """Every file below a directory, relative to it."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}
