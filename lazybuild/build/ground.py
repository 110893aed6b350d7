"""What the place of a store is good for: its file system, its speed, its room."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lazybuild.build.finding import Finding
from lazybuild.linux import syscalls

LITTLE_ROOM = 5 << 30
SLOW = 20e6  # bytes a second
SAMPLE = 8 << 20
SLOW_OR_UNSAFE = {
    0x6969: ("NFS", "its locks and renames are not safe for a store"),
    0x517B: ("SMB", "its locks and renames are not safe for a store"),
    0xFF534D42: ("CIFS", "its locks and renames are not safe for a store"),
    0x794C7630: ("overlay", "a container's own file system: slow, and gone with the container"),
    0x65735546: ("FUSE", "overlay can't keep its upper directories there"),
    0x01021994: ("tmpfs", "it takes memory, and is gone after a restart"),
}
SHARED = ("NFS", "SMB", "CIFS")


def warning(root: Path) -> str:
    """What a build should say of the place before it begins; "" for nothing."""
    name, why = SLOW_OR_UNSAFE.get(_magic(root), ("", ""))
    return f"the store {root} lies on {name}: {why}; see lazybuild doctor" if name in SHARED else ""


def findings(root: Path) -> Iterator[Finding]:
    """What the place of the store is good for."""
    flags = os.statvfs(root)
    yield _disk(root)
    if flags.f_flag & os.ST_NOSUID:
        yield Finding(
            name="setuid",
            verdict="warn",
            text=f"{root} is mounted nosuid: sudo and ping of an image won't work in steps",
            fix="choose another place with --root, or mount it without nosuid",
        )
    free = shutil.disk_usage(root).free
    if free < LITTLE_ROOM:
        yield Finding(
            name="room",
            verdict="warn",
            text=f"only {free / 1e9:.1f} GB are free at {root}",
            fix="lazybuild prune, or choose another place with --root",
        )


def _disk(root: Path) -> Finding:
    fix = "choose a directory on a local disk or volume with --root"
    name, why = SLOW_OR_UNSAFE.get(_magic(root), ("", ""))
    try:
        rate = speed(root)
    except OSError as error:
        return Finding(name="store", verdict="warn", text=f"{root}: {error.strerror}", fix=fix)
    measured = f"{rate / 1e6:.0f} MB/s"
    if name or rate < SLOW:
        text = f"{root} lies on {name}: {why}, {measured}" if name else f"{root}: {measured}"
        return Finding(name="store", verdict="warn", text=text, fix=fix)
    return Finding(name="store", verdict="ok", text=f"{root}, {measured}")


def speed(root: Path) -> float:
    """Bytes a second that reach the disk, of a file small enough to be no trouble."""
    begun = time.monotonic()
    with tempfile.TemporaryFile(dir=root) as file:
        file.write(bytes(SAMPLE))
        file.flush()
        os.fsync(file.fileno())
    return SAMPLE / max(time.monotonic() - begun, 1e-3)


def _magic(root: Path) -> int:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return syscalls.filesystem_magic(fd) & 0xFFFFFFFF
    finally:
        os.close(fd)
