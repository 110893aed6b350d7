"""The layer that is there to be removed from: an empty file for each path that others delete."""

from collections.abc import Iterable

from frontend.layers import WrittenLayer
from lazybuild.estargz.entry import Entry, Item, Kind
from lazybuild.estargz.writer import WriterOptions, Written, write_layer
from lazybuild.oci.descriptor import Descriptor
from lazybuild.snapshots import paths


def ghost(removed: Iterable[str]) -> tuple[WrittenLayer, bytes]:
    """The layer and its blob."""
    files = set(removed)
    directories = {above for path in files for above in paths.ancestors(path)}
    names = sorted(files | directories, key=paths.sort_key)
    kinds = {True: Kind.DIR, False: Kind.REG}
    items = [Item(Entry(name=name, kind=kinds[name in directories])) for name in names]
    parts: list[bytes] = []
    written = write_layer(items, parts.append, options=WriterOptions(threads=1))
    return described(written), b"".join(parts)


def described(written: Written, removed: Iterable[str] = ()) -> WrittenLayer:
    """What is told of a layer that was written."""
    descriptor = Descriptor(
        media_type=written.media_type,
        digest=written.digest,
        size=written.size,
        annotations=written.annotations,
    )
    return WrittenLayer(descriptor=descriptor, diff_id=written.diff_id, removed=tuple(removed))
