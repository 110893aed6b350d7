"""What can be said of an image without mounting it: how each layer would be read, and in which
order its files stand.
"""

from dataclasses import dataclass, field, replace

from lazybuild.build import external, journal
from lazybuild.build.journal import Journal
from lazybuild.build.library import Library
from lazybuild.build.lowers import unvouched
from lazybuild.build.space import Space
from lazybuild.build.trace import Uses
from lazybuild.errors import IntegrityError, RegistryError
from lazybuild.estargz import footer, names
from lazybuild.estargz.entry import Kind
from lazybuild.estargz.footer import Layout
from lazybuild.estargz.reader import UnverifiedToc, has_external_toc, open_toc, promised
from lazybuild.estargz.toc import Toc, TocEntry
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import DiffID
from lazybuild.oci.ranges import RangeReader
from lazybuild.sources.images import Image
from lazybuild.store import Layer

LAZY, EAGER, LOCAL = "lazy", "eager", "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerView:
    """A layer: `mode` is lazy, eager or local, `reason` why it is not lazy.

    `landmark` is the offset in the blob up to which files were put first, `prefetch` their names.
    `used` are the files that steps of this store's builds used, in order; `journal` is of the last
    of those builds.
    """

    descriptor: Descriptor
    diff_id: DiffID
    mode: str
    format: str
    reason: str = ""
    origins: tuple[str, ...] = ()
    toc_digest: str = ""
    landmark: int = 0
    prefetch: tuple[str, ...] = ()
    files: int = 0
    used: tuple[str, ...] = ()
    journal: Journal | None = None
    toc: Toc | None = field(default=None, repr=False)


def layers(space: Space, image: Image) -> list[LayerView]:
    """Each layer, bottom first; the table of contents of each is read and checked."""
    descriptors = image.manifest.layers
    known = Library(space).layers(image.reference.name, descriptors)
    parts = zip(known, descriptors, image.config.diff_ids, strict=True)
    return [_view(space, layer, descriptor, diff_id) for layer, descriptor, diff_id in parts]


def _view(space: Space, layer: Layer, descriptor: Descriptor, diff_id: DiffID) -> LayerView:
    toc, reason, layout = _toc(space, layer, descriptor)
    near = space.store.blobs.has(descriptor.digest) or layer.directory
    mode = LOCAL if near else LAZY if toc else EAGER
    return LayerView(
        descriptor=descriptor,
        diff_id=diff_id,
        mode=mode,
        format=layout or packing(descriptor.media_type),
        reason=reason,
        origins=layer.origins,
        toc_digest=promised(descriptor.annotations),
        landmark=toc.prefetch_end if toc else 0,
        prefetch=prefetched(toc) if toc else (),
        files=len(toc.entries) if toc else 0,
        used=tuple(Uses(space.store).of(layer.id)),
        journal=journal.load(space.store, layer.id),
        toc=toc,
    )


def _toc(space: Space, layer: Layer, descriptor: Descriptor) -> tuple[Toc | None, str, str]:
    """The checked TOC, or why there is none; and the layout of the blob, as far as it has one."""
    try:
        expected = promised(descriptor.annotations)
        ranges = space.ranges(layer)
        if not expected:
            return None, *_unvouched(ranges)
        found = open_toc(ranges, descriptor.annotations)
        if found is None and has_external_toc(ranges):
            return *_external(space, layer, descriptor), Layout.EXTERNAL
        if found is None:
            return None, "the blob has no TOC", ""
        return found.verify(expected), "", found.layout
    except (IntegrityError, RegistryError) as error:
        return None, error.message, ""


def _external(space: Space, layer: Layer, descriptor: Descriptor) -> tuple[Toc | None, str]:
    wanted = replace(layer, descriptor=descriptor, toc_digest=promised(descriptor.annotations))
    place, reason = external.fetch(space, wanted)
    if place is None:
        return None, reason
    raw = space.store.blobs.path(place).read_bytes()
    found = UnverifiedToc(
        raw=raw,
        covered=raw,
        layout=Layout.EXTERNAL,
        data_end=descriptor.size - footer.EXTERNAL_SIZE,
    )
    return found.verify(place), ""


def _unvouched(ranges: RangeReader) -> tuple[str, str]:
    """What a layer is that has no digest of a TOC in its manifest; the reason, and the layout."""
    size = min(ranges.size, footer.LONGEST)
    found = footer.parse(ranges.read_at(ranges.size - size, size), ranges.size)
    if found is None:
        return "no TOC digest in the manifest: not eStargz", ""
    return unvouched(found.layout), found.layout


def packing(media_type: str) -> str:
    """How a layer without a TOC is packed, as its media type says it (OCI, Docker)."""
    for ending in ("gzip", "zstd"):
        if media_type.endswith(ending):
            return ending
    return "tar" if media_type.endswith("tar") else "unknown"


def prefetched(toc: Toc) -> tuple[str, ...]:
    """The names before the landmark in the order in which they stand; () without one."""
    if not toc.prefetch_end:
        return ()
    found = zip(toc.paths, toc.entries, strict=True)
    return tuple(path for path, entry in found if is_prefetched(toc, path, entry))


def is_prefetched(toc: Toc, path: str, entry: TocEntry) -> bool:
    if path in names.OWN_NAMES or entry.type != Kind.REG or not entry.size:
        return False
    return entry.offset < toc.prefetch_end
