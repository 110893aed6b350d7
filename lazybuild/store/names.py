"""`index.json`: the names of the store's images, for tools that read OCI layouts.

Written from the database, under a lock, whole or not at all. Source: OCI image spec,
image-layout.md; annotation names as skopeo and containerd read them.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from lazybuild.oci import codec
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.image import Index
from lazybuild.store import disk, lock

if TYPE_CHECKING:
    from lazybuild.store.store import Store

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
EMPTY_INDEX = codec.encode(Index())


def write_index(store: "Store") -> None:
    with lock.held(store.locks / "index"):
        images = store.meta.images()
        manifests = tuple(_named(name, descriptor) for name, (descriptor, _) in images.items())
        disk.write_atomic(store.root / "index.json", codec.encode(Index(manifests=manifests)))


def _named(name: str, descriptor: Descriptor) -> Descriptor:
    annotations = {**descriptor.annotations, REF_NAME: name, IMAGE_NAME: name}
    return replace(descriptor, annotations=annotations)
