"""The one place that mounts overlays. An edge; needs CAP_SYS_ADMIN over its mount namespace.

Every overlay gets `userxattr`, so that all layers on disk have one format. Up to a page of options
goes through mount(2); longer stacks go layer by layer (`lowerdir+`, Linux 6.5).
Source: Linux Documentation/filesystems/overlayfs.rst.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lazybuild.errors import HostError
from lazybuild.linux import syscalls

MAX_LAYERS = 500
_PAGE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """`lowers` bottom first. Without `upper` and `work` the mount is read-only; `empty` is an
    empty directory, which stands in where the kernel wants more lowers than there are.
    """

    lowers: Sequence[Path]
    empty: Path
    upper: Path | None = None
    work: Path | None = None


def mount(overlay: Overlay, target: Path) -> None:
    """Mount at `target`. Raises HostError when the kernel won't."""
    lowers = _enough(overlay)
    if len(lowers) > MAX_LAYERS:
        raise HostError(f"{len(lowers)} layers are more than the kernel stacks ({MAX_LAYERS})")
    try:
        if not _mount_short(overlay, lowers, target):
            _mount_long(overlay, lowers, target)
    except OSError as error:
        raise HostError(
            f"can't mount an overlay of {len(lowers)} layers: {error.strerror or error}",
            hint="the store must lie on a file system that can hold overlay's upper directories "
            "(ext4, xfs, btrfs, tmpfs since Linux 6.6); choose another with --root",
        ) from error


@contextmanager
def mounted(overlay: Overlay, target: Path) -> Iterator[Path]:
    """The overlay at `target` for the length of the block."""
    mount(overlay, target)
    try:
        yield target
    finally:
        syscalls.umount(target, syscalls.MNT_DETACH)


def _enough(overlay: Overlay) -> list[Path]:
    """Top first; the kernel wants one lower below an upper and two without one."""
    lowers = list(reversed(overlay.lowers))
    while len(lowers) < (1 if overlay.upper else 2):
        lowers.append(overlay.empty)
    return lowers


def _options(overlay: Overlay) -> list[tuple[str, str]]:
    options = [("userxattr", "")]
    if overlay.upper and overlay.work:
        options += [("upperdir", str(overlay.upper)), ("workdir", str(overlay.work))]
        options.append(("volatile", ""))
    return options


def _mount_short(overlay: Overlay, lowers: Sequence[Path], target: Path) -> bool:
    """By mount(2); False if the options don't fit into its page."""
    text = "lowerdir=" + ":".join(_escaped(str(lower)) for lower in lowers)
    for key, value in _options(overlay):
        text += f",{key}={_escaped(value, colons=False)}" if value else f",{key}"
    if len(os.fsencode(text)) >= _PAGE:
        return False
    syscalls.mount("overlay", target, "overlay", 0, text)
    return True


def _escaped(path: str, *, colons: bool = True) -> str:
    escaped = path.replace("\\", "\\\\").replace(",", "\\,")
    return escaped.replace(":", "\\:") if colons else escaped


def _mount_long(overlay: Overlay, lowers: Sequence[Path], target: Path) -> None:
    """By the new mount calls, each lower named by a descriptor, so that no name is too long."""
    with ExitStack() as stack:
        options: list[tuple[str, str]] = []
        for key, value in _options(overlay):
            options.append((key, _by_descriptor(stack, value) if value else ""))
        options += [("lowerdir+", _by_descriptor(stack, str(lower))) for lower in lowers]
        try:
            fd = syscalls.filesystem("overlay", tuple(options))
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise OSError(error.errno, "so many layers need Linux 6.5") from error
            raise
        stack.callback(os.close, fd)
        syscalls.move_mount(fd, target)


def _by_descriptor(stack: ExitStack, path: str) -> str:
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return f"/proc/self/fd/{fd}"
