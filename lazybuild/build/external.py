"""Tables of contents that lie in another image, `NAME:TAG-esgztoc`, as a layer of it for each layer
of NAME:TAG that says so by its footer.

The manifest of NAME:TAG vouches for each TOC by its digest, so the other image need not be trusted.
Source: stargz-snapshotter docs/estargz.md, "External TOC"; its estargz/externaltoc.
"""

from dataclasses import replace

from lazybuild.build.pieces import Pieces
from lazybuild.build.space import Space
from lazybuild.errors import IntegrityError, LazybuildError
from lazybuild.estargz import tar
from lazybuild.estargz.names import TOC_NAME
from lazybuild.estargz.streams import Caps, decompress
from lazybuild.estargz.toc import MAX_TOC
from lazybuild.oci import codec, platform, reference
from lazybuild.oci import digest as digests
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.oci.image import Index, Manifest
from lazybuild.oci.reference import Reference
from lazybuild.sources.images import NAMED
from lazybuild.store import Layer

LAYER_DIGEST = "containerd.io/snapshot/stargz/layer.digest"
SUFFIX = "-esgztoc"


def fetch(space: Space, layer: Layer) -> tuple[Digest | None, str]:
    """The blob of the store that is the layer's TOC, or why there is none."""
    if not layer.toc_digest or layer.descriptor is None:
        return None, "its manifest vouches for no TOC"
    wanted = digests.parse(layer.toc_digest)
    if space.store.blobs.keeps(wanted):
        return wanted, ""
    name = space.store.meta.memo_get(NAMED, layer.descriptor.digest)
    if name is None:
        return None, "its table of contents is in another image, which is not known"
    ref = reference.parse(name)
    ref = replace(ref, tag=ref.tag + SUFFIX)
    try:
        data = _json(space, ref, _described(space, ref, layer.descriptor.digest))
        if digests.of(data) != wanted:
            raise IntegrityError(f"a TOC {digests.of(data)}, not {wanted}")
    except LazybuildError as error:
        return None, f"its table of contents should be in {ref.familiar}: {error.message}"
    return space.store.blobs.put(data), ""


def _described(space: Space, ref: Reference, layer: Digest) -> Descriptor:
    for item in _manifest(space, ref).layers:
        if item.annotations.get(LAYER_DIGEST) == layer:
            return item
    raise IntegrityError(f"no TOC for {layer}")


def _manifest(space: Space, ref: Reference) -> Manifest:
    found = codec.parse_document(space.registry().document(ref).data)
    if isinstance(found, Index):
        chosen = platform.choose(found.manifests, platform.host())
        if chosen is None:
            raise IntegrityError(f"no image for {platform.host()}")
        return codec.parse_manifest(space.registry().manifest(ref, chosen.digest)[0])
    return found


def _json(space: Space, ref: Reference, descriptor: Descriptor) -> bytes:
    """The one file of a layer of the TOC image. The download checks the layer's digest."""
    if descriptor.size > MAX_TOC:
        raise IntegrityError(f"a TOC of {descriptor.size} packed bytes is too large")
    blob = b"".join(space.registry().blob(ref.name, descriptor))
    plain = decompress(Pieces(iter([blob])), Caps(size=MAX_TOC + (1 << 20)))
    for item in tar.read(plain):
        if item.entry.name == TOC_NAME:
            return item.open().read() if item.open else b""
    raise IntegrityError(f"a layer without {TOC_NAME}")
