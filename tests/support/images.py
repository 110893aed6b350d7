"""Images of given layers at a `LocalRegistry`."""

import json

from support.tiny_image import describe

from lazybuild.oci import codec, platform
from lazybuild.oci.descriptor import OCI_CONFIG, OCI_MANIFEST, Descriptor
from lazybuild.oci.digest import of
from lazybuild.oci.image import Manifest


def put_image(registry, repository, *layers, tag="1", **config):
    """Put an image of these (media type, blob, diff ID, annotations) there; its name."""
    document = {
        "os": "linux",
        "architecture": platform.host().architecture,
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, _, diff_id, _ in layers]},
        **config,
    }
    data = json.dumps(document).encode()
    descriptors = [
        Descriptor(media_type=kind, digest=of(blob), size=len(blob), annotations=notes)
        for kind, blob, _, notes in layers
    ]
    manifest = Manifest(
        media_type=OCI_MANIFEST, config=describe(OCI_CONFIG, data), layers=tuple(descriptors)
    )
    for blob in (data, *(blob for _, blob, _, _ in layers)):
        registry.put_blob(repository, blob)
    registry.put_manifest(repository, codec.encode(manifest), tag=tag)
    return f"{registry.host}/{repository}:{tag}"
