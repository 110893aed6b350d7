"""From a blob to a `Tree`: finds the TOC, holds it to the manifest's digest, builds the inodes."""

from collections.abc import Mapping

from lazybuild.errors import IntegrityError
from lazybuild.estargz import toc
from lazybuild.estargz.reader import open_toc
from lazybuild.oci.ranges import RangeReader
from lazybuild.snapshots.lazyfs.build import build_tree
from lazybuild.snapshots.lazyfs.tree import Tree


def open_tree(
    ranges: RangeReader, annotations: Mapping[str, str], toc_digest: str
) -> tuple[Tree | None, str]:
    """The tree of a layer, or None and the reason why the layer can't be read lazily."""
    if not toc_digest:
        return None, "its manifest vouches for no TOC"
    found = open_toc(ranges, annotations)
    if found is None:
        return None, "it has no TOC"
    if found.digest != toc_digest:
        raise IntegrityError(f"TOC digest is {found.digest}, the manifest says {toc_digest}")
    return build_tree(toc.parse(found.raw).entries, data_end=found.data_end), ""
