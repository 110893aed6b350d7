"""Cache mounts as artifacts: one layer for each mount, named by its id in an annotation.

For machines that come without the caches of package managers and compilers. A mount that is here
already is never replaced. Needs the user namespace: files belong to whom the steps made them for.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lazybuild.errors import IntegrityError, LazybuildError
from lazybuild.estargz import tar
from lazybuild.estargz.streams import Caps, decompress
from lazybuild.estargz.writer import WriterOptions, write_plain
from lazybuild.events import Noted, Sink, Warned
from lazybuild.exchange.places import Place
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.digest import of
from lazybuild.oci.image import Manifest
from lazybuild.snapshots.diff import layer_items
from lazybuild.snapshots.dirtree import DirTree
from lazybuild.snapshots.unpack import unpack
from lazybuild.store import Layer, Store

ARTIFACT = "application/vnd.lazybuild.cache-mounts.v1"
CONFIG = "application/vnd.lazybuild.cache-mounts.config.v1+json"
ID = "lazybuild.cache-mount.id"
EMPTY = b"{}"


class MountImports:
    """The cache mounts of other machines, asked for by id; each place is read once."""

    def __init__(self, places: Sequence[Place], store: Store, sink: Sink) -> None:
        self._places = places
        self._store = store
        self._sink = sink
        self._found: dict[str, tuple[Place, Descriptor]] | None = None

    def restore(self, name: str, target: Path) -> bool:
        """Lay a mount out in an empty directory; False when nobody has it."""
        place, descriptor = self._known().get(name, (None, None))
        if place is None or descriptor is None:
            return False
        place.fetch(descriptor)
        with (
            self._store.blobs.open(descriptor.digest) as blob,
            self._store.scratch.directory("mount") as home,
        ):
            whole = home / "fs"
            whole.mkdir(mode=0o755)
            unpack(tar.read(decompress(blob, Caps(ratio=1100))), whole)
            whole.rename(target)
        size = descriptor.size / 1e6
        self._sink(Noted(message=f"cache mount {shown(name)}: {size:.1f} MB from {place.title}"))
        return True

    def _known(self) -> Mapping[str, tuple[Place, Descriptor]]:
        if self._found is None:
            self._found = {}
            for place in reversed(self._places):
                self._found |= {name: (place, item) for name, item in self._read(place)}
        return self._found

    def _read(self, place: Place) -> list[tuple[str, Descriptor]]:
        try:
            manifest, _ = place.open()
            if manifest.config.media_type != CONFIG:
                raise IntegrityError("it holds no cache mounts")
        except LazybuildError as error:
            message = f"cache mounts of {place.title} can't be used: {error.message}"
            self._sink(Warned(message=message))
            return []
        return [(item.annotations.get(ID, ""), item) for item in manifest.layers]


def export(
    mounts: Mapping[str, Path],
    place: Place,
    store: Store,
    options: WriterOptions,
    note: Callable[[str], None],
) -> None:
    """Write the directories, by id, as one artifact."""
    found = [(name, _packed(path, store, options, note)) for name, path in sorted(mounts.items())]
    layers = [
        Descriptor(
            media_type=item.media_type,
            digest=item.digest,
            size=item.size,
            annotations={ID: name},
        )
        for name, item in found
    ]
    config = Descriptor(media_type=CONFIG, digest=of(EMPTY), size=len(EMPTY))
    manifest = Manifest(artifact_type=ARTIFACT, config=config, layers=tuple(layers))
    place.write(manifest, EMPTY, [Layer(id=item.digest, descriptor=item) for item in layers])


def _packed(
    path: Path, store: Store, options: WriterOptions, note: Callable[[str], None]
) -> Descriptor:
    with store.blobs.ingest() as ingest:
        items = list(layer_items(DirTree(path), note))
        written = write_plain(items, ingest.write, options=options)
        ingest.commit(written.digest)
    return Descriptor(media_type=written.media_type, digest=written.digest, size=written.size)


def shown(name: str) -> str:
    return "".join(char for char in name[:200] if char.isprintable())
