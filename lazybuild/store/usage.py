"""What a store holds and how large it is, for people. Marks nothing as used, changes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

from lazybuild.store import disk, gc
from lazybuild.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One thing in the store. Times in seconds, 0 if unknown.

    `kind` is layer, blob (of no layer: manifests, configs, downloads), mount or chunks. `held`:
    an image needs it; the rest is cache, which collecting everything takes.
    """

    kind: str
    id: str
    size: int
    created: float = 0.0
    used: float = 0.0
    description: str = ""
    held: bool = False


def usage(store: Store) -> list[Usage]:
    """Everything, the largest first."""
    found = [*_layers(store), *_blobs(store), *_mounts(store)]
    chunks = store.chunks.total()
    if chunks:
        found.append(Usage(kind="chunks", id="chunks", size=chunks, held=False))
    return sorted(found, key=lambda item: (-item.size, item.kind, item.id))


def _layers(store: Store) -> Iterator[Usage]:
    pinned, said = _pinned(store), {}
    for record in store.meta.records():
        if record.layers:
            said[record.layers[-1]] = record.description
    sizes = gc.layer_sizes(store)
    for layer, used in store.meta.layers():
        digest = layer.descriptor.digest if layer.descriptor else ""
        yield Usage(
            kind="layer",
            id=digest or layer.id,
            size=sizes.get(layer.id, 0),
            created=layer.created / 1e9,
            used=used,
            description=said.get(layer.id, ""),
            held=digest in pinned,
        )


def _pinned(store: Store) -> set[str]:
    return set(store.closure(item for item, _ in store.meta.images().values()))


def _blobs(store: Store) -> Iterator[Usage]:
    """Blobs that are no layers'."""
    layers = {layer.descriptor.digest for layer, _ in store.meta.layers() if layer.descriptor}
    pinned = _pinned(store)
    for digest in store.blobs.all():
        if digest not in layers:
            status = store.blobs.path(digest).stat()
            yield Usage(
                kind="blob",
                id=digest,
                size=status.st_size,
                used=status.st_mtime,
                held=digest in pinned,
            )


def _mounts(store: Store) -> Iterator[Usage]:
    for path in gc.mounts(store):
        used = gc.mount_used(path)
        yield Usage(kind="mount", id=path.name, size=disk.tree_size(path), used=used)


def total(items: list[Usage]) -> int:
    return sum(item.size for item in items)
