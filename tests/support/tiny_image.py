"""The smallest image that a registry takes: a config, one layer, a manifest; all real bytes."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from lazybuild.oci import codec
from lazybuild.oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor
from lazybuild.oci.digest import of
from lazybuild.oci.image import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyImage:
    config: bytes
    layers: tuple[bytes, ...]
    manifest: bytes
    descriptor: Descriptor
    layer_descriptors: tuple[Descriptor, ...]
    config_descriptor: Descriptor


def describe(media_type: str, data: bytes) -> Descriptor:
    return Descriptor(media_type=media_type, digest=of(data), size=len(data))


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that no compression shortens and that are the same in every run."""
    return random.Random(seed).randbytes(size)


def tiny_image(layers: Sequence[bytes] = (b"layer",), config: bytes = b"{}") -> TinyImage:
    descriptors = tuple(describe(OCI_LAYER_GZIP, layer) for layer in layers)
    own = describe(OCI_CONFIG, config)
    value = Manifest(media_type=OCI_MANIFEST, config=own, layers=descriptors)
    data = codec.encode(value)
    return TinyImage(
        config=config,
        layers=tuple(layers),
        manifest=data,
        descriptor=describe(OCI_MANIFEST, data),
        layer_descriptors=descriptors,
        config_descriptor=own,
    )
