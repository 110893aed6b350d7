"""`index.json`: the names of the store's images, for tools that read OCI layouts.

Written from the database, under a lock, whole or not at all, and read again when the database is
new or was lost. Source: OCI image spec, image-layout.md; annotation names as skopeo and containerd
read them.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from lazybuild.errors import IntegrityError
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


def restore(store: "Store") -> None:
    """Take the names of an index into a database that has none."""
    try:
        index = codec.parse_index((store.root / "index.json").read_bytes())
    except (IntegrityError, FileNotFoundError):
        return  # names can't be had from it, and the next tag writes it anew
    store.meta.put_images(
        {
            item.annotations[IMAGE_NAME]: _bare(item)
            for item in index.manifests
            if IMAGE_NAME in item.annotations
        }
    )


def _bare(descriptor: Descriptor) -> Descriptor:
    kept = {
        key: value
        for key, value in descriptor.annotations.items()
        if key not in (REF_NAME, IMAGE_NAME)
    }
    return replace(descriptor, annotations=kept)


def _named(name: str, descriptor: Descriptor) -> Descriptor:
    annotations = {**descriptor.annotations, REF_NAME: name, IMAGE_NAME: name}
    return replace(descriptor, annotations=annotations)
