"""Room on the disk: a soft limit for the cache, and what can go when there is none left.

Never takes what an image with a name needs, what a living build may hold, or what this one has
looked up.
"""

import os
import time

from lazybuild.build.space import Space
from lazybuild.errors import LazybuildError
from lazybuild.events import Noted, Warned
from lazybuild.store import gc
from lazybuild.store.gc import Policy

MEMO = ("gc", "looked")
PAUSE = 3600.0
LEAST, SHARE = 10 << 30, 5
"""Without a word of the user: a fifth of the file system, but no less than ten gigabytes."""


def keep_within(space: Space, limit: int) -> None:
    """Remove what was not used for longest while the cache is larger than `limit` (bytes; 0 is the
    default limit). Looks once an hour, after a build that ran something.
    """
    meta = space.store.meta
    looked = float(meta.memo_get(*MEMO) or 0)
    if not space.inside or (not limit and 0 <= time.time() - looked < PAUSE):
        return
    meta.memo_put(*MEMO, str(time.time()))
    try:
        _shrink(space, limit or default_limit(space))
    except LazybuildError as error:
        space.sink(Warned(message=f"the cache was not made smaller: {error.message}"))


def _shrink(space: Space, wanted: int) -> None:
    size = sum(gc.layer_sizes(space.store).values())
    if size > wanted:
        pruned = gc.prune(space.store, Policy(unused_for=0.0, keep=wanted))
        message = f"the cache had {size / 1e6:.0f} MB: removed {pruned.bytes / 1e6:.0f} MB"
        space.sink(Noted(message=message))


def default_limit(space: Space) -> int:
    found = os.statvfs(space.store.root)
    return max(LEAST, found.f_blocks * found.f_frsize // SHARE)


def make(space: Space, error: LazybuildError) -> bool:
    """Take all of the cache that nobody needs away, after `error`; False when that was nothing."""
    try:
        pruned = gc.prune(space.store, Policy(unused_for=0.0))
        freed = pruned.bytes + space.store.chunks.trim(0)
    except LazybuildError:
        return False
    if freed:
        text = f"removed {freed / 1e6:.0f} MB of cache and try again"
        space.sink(Warned(message=f"{error.message}: {text}"))
    return freed > 0
