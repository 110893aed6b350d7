"""How the layers' directories of a store say who owns their files, one way for a whole store.

Where there is a range of ids the kernel says it; where there is one id it is noted in attributes
(`snapshots.recorded`). Directories of one kind are wrong to those who look for the other.
"""

from lazybuild.errors import HostError
from lazybuild.store import Store

MEMO = ("store", "owners")
KERNEL, NOTED = "kernel", "noted"


def claim(store: Store, *, one_id: bool) -> None:
    """Raise unless the store's directories, if any, are of the kind that this host makes."""
    wanted = NOTED if one_id else KERNEL
    known = store.meta.memo_get(*MEMO) or KERNEL
    if known == wanted:
        return
    if any(use.layer.directory for use in store.meta.layers()):
        raise HostError(_conflict(store, noted=known == NOTED), hint="choose another with --root")
    store.meta.memo_put(*MEMO, wanted)


def _conflict(store: Store, *, noted: bool) -> str:
    made, here = ("one user id", "many") if noted else ("many user ids", "one")
    return f"the layers of the store {store.root} were made with {made}, and there is {here} here"
