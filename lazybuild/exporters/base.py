"""What exporters are given: an image whose blobs can be opened, wherever they lie, and a tree.

Values and one engine; knows no destination.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from lazybuild.oci import codec, digest
from lazybuild.oci.descriptor import OCI_INDEX, Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.oci.image import Manifest
from lazybuild.oci.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBlob:
    """A blob of an image and how to read it from its beginning, here or at a registry."""

    descriptor: Descriptor
    open: Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedImage:
    """One image for one platform. `layers` are in the manifest's order, bottom first.

    With statements about it, or images for other platforms, `index` lists all of them; `attached`
    are the blobs of statements, `others` the other images.
    """

    manifest: bytes
    media_type: str
    config: bytes
    layers: tuple[ImageBlob, ...]
    names: tuple[Reference, ...] = ()
    index: bytes = b""
    attached: Mapping[Digest, bytes] = field(default_factory=dict)
    others: tuple["ExportedImage", ...] = ()

    @property
    def top(self) -> Descriptor:
        """What a name stands for: the index, where there is one."""
        if not self.index:
            return self.descriptor
        return Descriptor(media_type=OCI_INDEX, digest=digest.of(self.index), size=len(self.index))

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(
            media_type=self.media_type, digest=digest.of(self.manifest), size=len(self.manifest)
        )

    def document(self) -> Manifest:
        return codec.parse_manifest(self.manifest, self.media_type)
