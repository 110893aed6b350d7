"""Images as archives that `docker load` and `podman load` take.

As BuildKit and Docker 25 write them: an OCI layout with Docker's manifest.json beside it, whose
paths point at the same blobs, and the older `repositories`. Source: moby image/tarexport.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import BinaryIO

from lazybuild.exporters import archive, oci
from lazybuild.exporters.archive import Member
from lazybuild.exporters.base import ExportedImage
from lazybuild.oci.digest import hex_part


def export(image: ExportedImage, out: BinaryIO) -> None:
    archive.write(_members(image), out)


def _members(image: ExportedImage) -> Iterator[Member]:
    yield from oci.members(image)
    yield Member(name="manifest.json", content=_compact([_manifest(image)]))
    repositories = _repositories(image)
    if repositories:
        yield Member(name="repositories", content=_compact(repositories))


def _manifest(image: ExportedImage) -> dict[str, object]:
    return {
        "Config": oci.blob_name(image.document().config.digest),
        "RepoTags": [name.familiar for name in image.names if name.tag] or None,
        "Layers": [oci.blob_name(layer.descriptor.digest) for layer in image.layers],
    }


def _repositories(image: ExportedImage) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = defaultdict(dict)
    if image.layers:
        top = hex_part(image.layers[-1].descriptor.digest)
        for name in image.names:
            if name.tag:
                found[name.familiar.removesuffix(f":{name.tag}")][name.tag] = top
    return found


def _compact(tree: object) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()
