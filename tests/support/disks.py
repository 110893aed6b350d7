"""Stores on disks of their own that are small, full, read-only or broken."""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

from support.building import Builder
from support.inside import inside


def on_disk(folder, options, work, *arguments):
    """`work(builder, ...)` in a namespace where the store is a tmpfs with these mount options."""

    def run():
        (folder / "store").mkdir(mode=0o700, exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"mode=0700,{options}", "tmpfs"]
        subprocess.run([*mount, folder / "store"], check=True)
        return work(Builder(folder), *arguments)

    return inside(run)


def read_only(builder):
    """From now on nothing can be written where the store is."""
    command = ["mount", "-o", "remount,ro", builder.root]
    subprocess.run(command, check=True)


@contextmanager
def filled(root: Path):
    """A disk without a byte of room, and without a lock's."""
    ballast = root / "tmp" / "ballast"
    with ballast.open("wb") as file:
        size = 1 << 20
        while size:
            try:
                os.write(file.fileno(), bytes(size))
            except OSError:
                size >>= 1
    try:
        yield
    finally:
        ballast.unlink(missing_ok=True)


BLOCK = 4096


@contextmanager
def unreadable(folder: Path, scratch: Path):
    """The files of `folder`, of which every byte is an I/O error: on a disk whose end is gone.

    Needs root and a mount namespace of its own.
    """
    image = scratch / "image"
    with image.open("wb") as file:
        file.truncate(100 << 20)
    _run("mke2fs", "-q", "-F", "-t", "ext4", "-b", BLOCK, "-d", folder, image)
    device = _run("losetup", "--find", "--show", image).strip()
    _run("mount", "-o", "ro", device, folder)
    try:
        names = [f"/{path.name}" for path in folder.iterdir() if path.is_file()]
        blocks = [_run("debugfs", "-R", f"blocks {name}", device).split() for name in names]
        with image.open("r+b") as file:
            file.truncate(BLOCK * min(int(block) for found in blocks for block in found))
        Path("/proc/sys/vm/drop_caches").write_text("1\n")
        yield
    finally:
        _run("umount", "-l", folder)
        _run("losetup", "-d", device)


def _run(*command) -> str:
    words = [str(word) for word in command]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout
