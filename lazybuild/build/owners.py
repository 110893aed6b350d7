"""How the layers' directories of a store are written, one way for a whole store.

Where there is a range of ids the kernel says whose a file is; where there is one id it is noted
in attributes (`snapshots.recorded`). Directories of one kind are wrong to those who look for the
other. Where there is no overlay, a removed name may be marked in a way that overlay does not know.
"""

from lazybuild.errors import HostError
from lazybuild.executor.host import Host
from lazybuild.store import Store

MEMO = ("store", "owners")
KERNEL, NOTED = "kernel", "noted"
MARKS = ("store", "marks")
OVERLAY, OWN = "overlay", "own"
ANOTHER = "choose another with --root"


def claim(store: Store, host: Host) -> None:
    """Raise unless the store's directories, if any, are of a kind that this host can use."""
    wanted = NOTED if host.one_id else KERNEL
    known = store.meta.memo_get(*MEMO) or KERNEL
    marks = store.meta.memo_get(*MARKS) or OVERLAY
    if any(use.layer.directory for use in store.meta.layers()):
        if known != wanted:
            raise HostError(_conflict(store, noted=known == NOTED), hint=ANOTHER)
        if host.overlay and marks == OWN:
            raise HostError(
                f"the layers of the store {store.root} were made where overlay did not work",
                hint=ANOTHER,
            )
    if known != wanted:
        store.meta.memo_put(*MEMO, wanted)
    if host.overlay != (marks == OVERLAY):
        store.meta.memo_put(*MARKS, OVERLAY if host.overlay else OWN)


def _conflict(store: Store, *, noted: bool) -> str:
    made, here = ("one user id", "many") if noted else ("many user ids", "one")
    return f"the layers of the store {store.root} were made with {made}, and there is {here} here"
