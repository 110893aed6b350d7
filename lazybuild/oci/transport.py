"""The words for images that lie on this machine and in no store: `oci-archive:base.tar:1`. Pure.

    oci-layout://DIR[:TAG][@DIGEST]     as BuildKit has it; oci-layout: and oci: are the same
    oci-archive:FILE[:NAME|:@INDEX]     such a layout as a tar archive
    docker-archive:FILE[:NAME|:@INDEX]  what `docker save` and `podman save` write

Source: containers/image, docs/containers-transports.5.md.
"""

from enum import StrEnum

HOST = "local.invalid"
"""The registry in the names that such images get, of which nothing can be fetched (RFC 2606)."""


class Kind(StrEnum):
    LAYOUT = "oci-layout"
    OCI = "oci-archive"
    DOCKER = "docker-archive"


_SHORT = "oci"


def bare(text: str) -> str:
    """The name of an image at a registry, of which buildah and skopeo say so: docker://debian."""
    for scheme in ("docker://", "docker-image://", "container-image://"):
        if text.startswith(scheme):
            return text.removeprefix(scheme)
    return text


def foreign(text: str) -> bool:
    """Whether a text names an image in the storage of another program, which is not read here."""
    return text.startswith(("containers-storage:", "docker-daemon:"))


def kind(text: str) -> Kind | None:
    """The kind of place that a text names; None for the name of an image, such as `oci:latest`."""
    scheme, colon, rest = text.partition(":")
    if not colon or (scheme == _SHORT and "/" not in rest):
        return None
    found = [item for item in Kind if item == scheme]
    return Kind.LAYOUT if scheme == _SHORT else next(iter(found), None)
