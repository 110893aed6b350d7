"""Layers after the machine went down: which directories may have lost bytes. An edge on the store.

A layer's directory is what a step wrote, and a step's writes reach the disk when the kernel likes,
within half a minute or so; the row that announces it may get there sooner. So after a boot the
directories of the last minute before it are given up: their layers fall back on the blob, which is
synced, or are forgotten, so that the step runs again. Nothing is synced for it in a build.
"""

import time
from dataclasses import replace
from pathlib import Path

from lazybuild.store import Layer, Store

MEMO = "boot"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
UNSAFE_NS = 60_000_000_000  # more than the kernel's dirty_expire and dirty_writeback together


def recover(store: Store, boot_id: str | None = None, booted: int | None = None) -> list[Layer]:
    """Give up what can't be trusted, once after each boot; the layers it happened to.

    `booted` is the time of the boot in nanoseconds, `boot_id` its name: the machine's own if None.
    """
    current = BOOT_ID.read_text().strip() if boot_id is None else boot_id
    if store.meta.memo_get(MEMO, "id") == current:
        return []
    doubtful = _doubtful(store, _boot_time() if booted is None else booted)
    for layer in doubtful:
        _give_up(store, layer)
    store.meta.memo_put(MEMO, "id", current)
    return doubtful


def _boot_time() -> int:
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _doubtful(store: Store, booted: int) -> list[Layer]:
    known = (use.layer for use in store.meta.layers())
    layers = [layer for layer in known if layer.directory and layer.created < booted]
    newest = max((layer.created for layer in layers), default=0)
    return [
        layer
        for layer in layers
        if layer.created > newest - UNSAFE_NS or not store.snapshot_dir(layer.id).is_dir()
    ]


def _give_up(store: Store, layer: Layer) -> None:
    """First the row: nobody may find the layer while its directory goes."""
    if layer.descriptor is None:
        store.meta.delete_layer(layer.id)
    else:
        store.meta.put_layer(replace(layer, directory=False))
    store.scratch.trash(store.snapshot_dir(layer.id).parent)
