"""The shape of what the builder hands to a sandbox: a dict that `marshal` can carry.

Reports come back on the descriptor `status`, one line each: a word, a space, a text. "exit" and
"signal" carry a number; "host", "build", "127" and "126" a reason. When the descriptor `lifeline`
ends, the step is killed. With `own_pids` the step gets a pid namespace, with `chroot` no namespace
and no mount at all. Where there is `one_id`, a root step gets the filter `fakes` on top, whose
listener is sent through the socket `listener` to the process `answerer`. With `terminal` standard
input is one, for the command to take over.
"""

from typing import TypedDict


class WireMount(TypedDict):
    """`kind` is bind, tmpfs or file; the fields of the other kinds are empty."""

    kind: str
    dest: str
    source: str
    selector: str
    readonly: bool
    size: int
    data: bytes
    mode: int
    uid: int
    gid: int


class WireSpec(TypedDict):
    parent: int
    status: int
    lifeline: int
    terminal: bool
    rootfs: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    uid: int
    gid: int
    groups: list[int]
    own_pids: bool
    chroot: bool
    hostname: str
    network: str
    shm_size: int
    mounts: list[WireMount]
    capabilities: int
    seccomp: bytes
    fakes: bytes
    asked_about: dict[tuple[int, int], str]
    listener: int
    answerer: int
    one_id: bool
    rlimits: list[tuple[int, int, int]]
