"""What a host was found to be good for, as a value: the rungs of the ladder and what they mean.

    T0  no step has to run: nothing is asked of the host
    T1  user namespace with a range of ids, mount namespace, overlay, /dev/fuse: lazy bases
    T2  the same, but the container around us masks /proc: steps share its process table
    T3  no usable /dev/fuse: bases are fetched whole
    T4  no overlay where the store is: each step works on a copy of its whole file system
    T5  no range of ids: owners are noted beside the files, chown and changes of user are faked
    T6  no namespaces, but root of a container with Docker's capabilities: steps run in a chroot

A host stands on the lowest rung that one of its lacks puts it on. No I/O.
"""

from dataclasses import dataclass
from typing import Final, Literal

Ids = Literal["all", "range", "own", "one"]
"""The ids of a build: all of real root's, a range by the helpers, those of this container, one."""

Tier = Literal["T1", "T2", "T3", "T4", "T5", "T6"]
TIERS: Final[tuple[Tier, ...]] = ("T1", "T2", "T3", "T4", "T5", "T6")
UNTRUSTED: Final = "run no Dockerfile here that you don't trust"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What was found; `reason` is one line for the user. `pids` false: a step can't have a process
    table of its own. With `one_id` files can't have more than one owner. Without `overlay` layers
    can't be stacked, without `mounts` nothing can be mounted and there are no namespaces.
    """

    tier: Tier
    fuse: bool
    reason: str
    ids: Ids = "range"
    pids: bool = True
    one_id: bool = False
    overlay: bool = True
    mounts: bool = True

    @property
    def userns(self) -> bool:
        """Whether a user namespace is needed: real root does without."""
        return self.ids != "all"


COPIES: Final = "base layers are fetched whole, and each step works on a copy, which is slow"
ORDINARY: Final = Host(tier="T1", fuse=True, reason="")

_WAYS: Final = {
    "all": "root with CAP_SYS_ADMIN",
    "range": "user namespace with a range of ids",
    "own": "user namespace with the ids of this container",
    "one": "user namespace with one id, as /etc/subuid has no range for this user",
}


def described(
    *,
    ids: Ids,
    obstacle: str = "",
    pids: bool = True,
    one_id: bool = False,
    unstacked: str = "",
) -> Host:
    """The host with these properties; `obstacle` is why FUSE can't be used, `unstacked` why overlay
    can't, if they can't.
    """
    one_id = one_id or ids == "one"
    parts = [_WAYS[ids]]
    if unstacked:
        parts.append(f"{unstacked}: {COPIES}")
    elif obstacle:
        parts.append(f"base layers are fetched whole: {obstacle}")
    else:
        parts.append("base layers are mounted lazily")
    if not pids:
        parts.append(f"/proc is masked, so steps share the processes around them: {UNTRUSTED}")
    if one_id:
        parts.append("owners are noted, and chown, mknod and changes of user faked")
    return Host(
        tier="T5" if one_id else _tier(fuse=not obstacle, pids=pids, overlay=not unstacked),
        ids=ids,
        fuse=not obstacle and not unstacked,
        reason="; ".join(parts),
        pids=pids,
        one_id=one_id,
        overlay=not unstacked,
    )


def in_chroot(why: str) -> Host:
    """The host without namespaces; `why` is what refuses them."""
    return Host(
        tier="T6",
        ids="all",
        fuse=False,
        pids=False,
        overlay=False,
        mounts=False,
        reason=f"no namespaces ({why}): steps run in a chroot without /proc; {COPIES}; {UNTRUSTED}",
    )


def _tier(*, fuse: bool, pids: bool, overlay: bool) -> Tier:
    if not overlay:
        return "T4"
    if not fuse:
        return "T3"
    return "T1" if pids else "T2"
