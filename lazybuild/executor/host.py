"""What a host was found to be good for, as a value: the rungs of the ladder and what they mean.

    T0  no step has to run: nothing is asked of the host
    T1  user namespace with a range of ids, mount namespace, overlay, /dev/fuse: lazy bases
    T2  the same, but the container around us masks /proc: steps share its process table
    T3  no usable /dev/fuse: bases are fetched whole
    T5  no range of ids: owners are noted beside the files, chown and changes of user are faked

A host stands on the lowest rung that one of its lacks puts it on. No I/O.
"""

from dataclasses import dataclass
from typing import Final, Literal

Ids = Literal["all", "range", "own", "one"]
"""The ids of a build: all of real root's, a range by the helpers, those of this container, one."""

Tier = Literal["T1", "T2", "T3", "T5"]
TIERS: Final[tuple[Tier, ...]] = ("T1", "T2", "T3", "T5")
UNTRUSTED: Final = "run no Dockerfile here that you don't trust"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What was found; `reason` is one line for the user. `pids` false: a step can't have a process
    table of its own. With `one_id` files can't have more than one owner.
    """

    tier: Tier
    fuse: bool
    reason: str
    ids: Ids = "range"
    pids: bool = True
    one_id: bool = False

    @property
    def userns(self) -> bool:
        """Whether a user namespace is needed: real root does without."""
        return self.ids != "all"


ORDINARY: Final = Host(tier="T1", fuse=True, reason="")

_WAYS: Final = {
    "all": "root with CAP_SYS_ADMIN",
    "range": "user namespace with a range of ids",
    "own": "user namespace with the ids of this container",
    "one": "user namespace with one id, as /etc/subuid has no range for this user",
}


def described(*, ids: Ids, obstacle: str = "", pids: bool = True, one_id: bool = False) -> Host:
    """The host with these properties; `obstacle` is why FUSE can't be used, if it can't."""
    one_id = one_id or ids == "one"
    parts = [_WAYS[ids]]
    if obstacle:
        parts.append(f"base layers are fetched whole: {obstacle}")
    else:
        parts.append("base layers are mounted lazily")
    if not pids:
        parts.append(f"/proc is masked, so steps share the processes around them: {UNTRUSTED}")
    if one_id:
        parts.append("owners are noted, and chown, mknod and changes of user faked")
    return Host(
        tier="T5" if one_id else _tier(fuse=not obstacle, pids=pids),
        ids=ids,
        fuse=not obstacle,
        reason="; ".join(parts),
        pids=pids,
        one_id=one_id,
    )


def _tier(*, fuse: bool, pids: bool) -> Tier:
    if not fuse:
        return "T3"
    return "T1" if pids else "T2"
