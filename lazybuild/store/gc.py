"""The collector: removes what no image, no recent result and no living process needs.

What is looked up or made is marked with the time: rows by `meta`, blobs by their mtime. A lease
says since when a living process may hold what it has looked up. So everything marked after the
oldest lease began, less the coarseness of the marks, stays, and each removal asks for the mark
again under the lock or in the transaction that removes. Order: records, layers, their directories,
blobs, ruins; a crash in between leaves what the next run removes.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lazybuild.oci import digest as digests
from lazybuild.oci.digest import Digest
from lazybuild.store import disk, lock, names
from lazybuild.store.meta import RENEW_AFTER, Layer
from lazybuild.store.store import Store

DAY = 86400.0
STEPS, MOUNTS = "regular", "exec.cachemount"  # the words of `docker buildx prune`
_SLACK = RENEW_AFTER + 5.0
_MEMO_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What may go: cache records unused for `unused_for` seconds, and what only they hold.

    With `keep`, only until the store is that small, with `free` until so much of the disk is free
    (bytes). `description` and `ids` (prefixes of what `usage` shows, or of keys) choose among
    records and mounts. `everything` takes chunks, cache mounts and memos, too. With `only`, one of
    the kinds STEPS and MOUNTS goes, and nothing else.
    """

    unused_for: float = 7 * DAY
    keep: int | None = None
    free: int | None = None
    description: str = ""
    ids: tuple[str, ...] = ()
    everything: bool = False
    only: str = ""

    def chooses(self, description: str, *names: str) -> bool:
        by_id = not self.ids or any(name.startswith(self.ids) for name in names)
        return by_id and self.description in description

    @property
    def takes_mounts(self) -> bool:
        return self.only == MOUNTS or (self.everything and self.only != STEPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What went, by kind, and the bytes; `stuck` says what could not be removed, and why."""

    records: int = 0
    layers: int = 0
    blobs: int = 0
    mounts: int = 0
    bytes: int = 0
    stuck: tuple[str, ...] = ()


def prune(store: Store, policy: Policy) -> Pruned:
    """Collect once. One process at a time; builds go on meanwhile."""
    with lock.held(store.locks / "gc"):
        before = _limit(store, policy)
        taken = list(_drop_mounts(store, policy, before)) if policy.takes_mounts else []
        if policy.only == MOUNTS:
            stuck = tuple(store.scratch.sweep())
            return Pruned(mounts=len(taken), bytes=sum(taken), stuck=stuck)
        records = _drop_records(store, policy, before)
        pinned = store.closure(item for item, _ in store.meta.images().values())
        layers = store.meta.drop_unused_layers(before=before, pinned=pinned)
        freed = sum(_trash(store, store.root / "snapshots" / layer.id) for layer in layers)
        freed += _drop_ruined_directories(store, before)
        blobs = list(_drop_blobs(store, pinned, before))
        _drop_places(store, pinned, before)
        whole = policy.everything and not policy.only
        freed += sum(blobs) + sum(taken) + store.chunks.trim(0 if whole else None)
        store.meta.forget(before=before if whole else before - _MEMO_DAYS * DAY)
        names.write_index(store)
        return Pruned(
            records=records,
            layers=len(layers),
            blobs=len(blobs),
            mounts=len(taken),
            bytes=freed,
            stuck=tuple(store.scratch.sweep()),
        )


def _limit(store: Store, policy: Policy) -> float:
    """What was used after this time stays."""
    limit = time.time() - policy.unused_for
    oldest = store.leases.oldest()
    return limit if oldest is None else min(limit, oldest - _SLACK)


def _drop_records(store: Store, policy: Policy, before: float) -> int:
    shown = {layer.id: _shown(layer) for layer, _ in store.meta.layers()}
    keys = [
        record.key
        for record in store.meta.records()
        if policy.chooses(
            record.description, record.key, *(shown.get(layer, "") for layer in record.layers[-1:])
        )
    ]
    keep = _kept(store, policy)
    if keep is None:
        return len(store.meta.drop_records(keys, before=before))
    return len(store.meta.drop_records(_beyond(store, keys, keep), before=before))


def _shown(layer: Layer) -> str:
    """As `usage` calls a layer."""
    return digests.hex_part(layer.descriptor.digest) if layer.descriptor else layer.id


def _kept(store: Store, policy: Policy) -> int | None:
    """How large the layers may stay, None for as large as they are."""
    if policy.free is None:
        return policy.keep
    found = os.statvfs(store.root)
    lacking = policy.free - found.f_bavail * found.f_frsize
    keep = max(0, sum(layer_sizes(store).values()) - max(0, lacking))
    return keep if policy.keep is None else min(keep, policy.keep)


def _beyond(store: Store, keys: list[str], keep: int) -> Iterator[str]:
    """The least recently used of the records, until the layers of the rest are small enough."""
    sizes = layer_sizes(store)
    holders = [(record.key, set(record.layers)) for record in store.meta.records()]
    needed: dict[str, int] = {}
    for _, held in holders:
        for layer in held:
            needed[layer] = needed.get(layer, 0) + 1
    total = sum(sizes.values())
    for key, held in holders:
        if total <= keep:
            return
        if key in keys:
            yield key
            for layer in held:
                needed[layer] -= 1
                total -= 0 if needed[layer] else sizes.get(layer, 0)


def layer_sizes(store: Store) -> dict[str, int]:
    """Bytes on disk of each layer: its blob, if here, and its directory."""
    found = {}
    for layer, _ in store.meta.layers():
        size = 0
        if layer.descriptor is not None and store.blobs.path(layer.descriptor.digest).exists():
            size = layer.descriptor.size
        if layer.directory:
            size += layer.uncompressed_size or disk.tree_size(store.snapshot_dir(layer.id))
        found[layer.id] = size
    return found


def _trash(store: Store, path: Path) -> int:
    """Take a directory out of sight; the sweep at the end removes it. The bytes it held."""
    size = disk.tree_size(path)
    return size if store.scratch.trash(path) else 0


def _drop_ruined_directories(store: Store, before: float) -> int:
    """Directories that no row names: of a crash before the row, or after the row went."""
    freed = 0
    for path in sorted((store.root / "snapshots").iterdir()):
        if path.lstat().st_ctime < before and not store.meta.has_layer(path.name):
            freed += _trash(store, path)
    return freed


def _drop_blobs(store: Store, pinned: set[Digest], before: float) -> Iterator[int]:
    for digest in store.blobs.all():
        if digest not in pinned:
            freed = store.blobs.delete(digest, unless=partial(_wanted, store, digest, before))
            if freed:
                yield freed


def _drop_places(store: Store, pinned: set[Digest], before: float) -> None:
    """Notes of where blobs lie that nothing needs; the blobs are not ours to remove."""
    places = store.blobs.places
    for digest in places.all():
        with suppress(FileNotFoundError):  # gone to another process
            young = places.path(digest).stat().st_mtime >= before
            if not (young or digest in pinned or store.meta.has_digest(digest)):
                places.forget(digest)


def _wanted(store: Store, digest: Digest, before: float) -> bool:
    """Asked under the blob's lock: has somebody claimed it, or does a layer need it?"""
    return store.blobs.path(digest).stat().st_mtime >= before or store.meta.has_digest(digest)


def _drop_mounts(store: Store, policy: Policy, before: float) -> Iterator[int]:
    """Cache mounts that no step holds; a step keeps `NAME.lock` locked."""
    for path in mounts(store):
        if policy.chooses("", path.name) and mount_used(path) < before:
            with _unused(path) as free:
                if free:
                    yield _trash(store, path)


def mounts(store: Store) -> list[Path]:
    """The directories of cache mounts."""
    found = sorted((store.root / "cache-mounts").iterdir())
    return [path for path in found if path.suffix != ".lock" and path.is_dir()]


def mount_used(path: Path) -> float:
    """When a step last began to use it: a step marks its lock. In seconds."""
    with suppress(FileNotFoundError):
        return max(path.stat().st_mtime, path.with_name(f"{path.name}.lock").stat().st_mtime)
    return path.stat().st_mtime


@contextmanager
def _unused(path: Path) -> Iterator[bool]:
    fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(fd)
