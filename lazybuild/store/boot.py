"""What a power loss may have taken: the store notices that the machine began anew under a build.

A builder that ends leaves no lease, a machine that stops leaves them. If there are any, and they
are of another boot, the layers' directories of the last minute go, since nobody synced their files
(a step that has a blob is read from it, another one runs again), and blobs are checked when they
are next used.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lazybuild.store import disk, lock

if TYPE_CHECKING:
    from lazybuild.store.store import Store

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
UNSYNCED: Final = 60.0  # seconds; the kernel writes what it holds back after 30 at the latest


def notice(store: "Store", boot: Path = BOOT_ID) -> None:
    """Compare the boot with the one that the store was last used in."""
    here, mark = boot.read_bytes(), store.root / "boot"
    if mark.exists() and mark.read_bytes() == here:
        return
    with lock.held(store.locks / "boot"):
        if mark.exists() and _left_behind(store) and mark.read_bytes() != here:
            store.doubt()
            _drop_unsynced(store)
        disk.write_atomic(mark, here)


def _left_behind(store: "Store") -> bool:
    """Whether there are leases, and nobody alive who holds one."""
    found = any((store.root / "leases").iterdir())
    return found and store.leases.oldest() is None


def _drop_unsynced(store: "Store") -> None:
    found = {path: path.lstat().st_ctime for path in (store.root / "snapshots").iterdir()}
    last = max(found.values(), default=0.0)
    for path in [path for path, made in found.items() if made > last - UNSYNCED]:
        layer = store.meta.layer(path.name)
        if layer is not None and layer.descriptor is not None:
            store.meta.put_layer(replace(layer, directory=False))
        elif layer is not None:
            store.meta.delete_layer(path.name)
        store.scratch.trash(path)


def doubted_since(root: Path) -> float:
    """Blobs that were not used after this time (seconds) must be checked; 0 is never."""
    try:
        return (root / "suspect").stat().st_mtime
    except FileNotFoundError:
        return 0.0
