"""What a step has besides its image where nothing can be mounted (T6): put there while it runs.

What the image has at such a place is moved aside before the step and back after it. Files in memory
become files, directories of the builder are moved in and out again, /dev is made of device nodes.
Works inside the step's own tree and the directory that holds it; no process of the step lives then.
"""

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from lazybuild.errors import BuildError, HostError
from lazybuild.executor.sandbox import points
from lazybuild.executor.sandbox.mounts import DEVICES, LINKS
from lazybuild.executor.sandbox.refused import RefusedError
from lazybuild.executor.spec import (
    KERNEL_DIRECTORIES,
    BindMount,
    FileMount,
    StepMount,
    TmpfsMount,
)
from lazybuild.linux import syscalls

PIPES: Final = ("stdout", "stderr")  # /dev/stdout without /proc to lead to it
FOR_ALL: Final = 0o666
SHARED_DIRECTORY: Final = 0o1777


class Places:
    """The places of one step: `put` them, and `clear` them away in the reverse order.

    `moved` has the inodes of what the image has there. Names are taken relative to directories that
    stay open, since the step may have put links where they were.
    """

    def __init__(self, rootfs: Path) -> None:
        self._root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._undo = ExitStack()
        self._undo.callback(os.close, self._root)
        self._aside = rootfs.parent / "aside"
        self._aside.mkdir(mode=0o700)
        self._undo.callback(shutil.rmtree, self._aside)
        self._count = 0
        self.moved: set[int] = set()

    def clear(self) -> None:
        self._undo.close()

    def make_dev(self) -> Path:
        """The directory that becomes /dev, not yet in its place."""
        dev = self._free()
        dev.mkdir(mode=0o755)
        for name, (major, minor) in DEVICES.items():
            os.mknod(dev / name, FOR_ALL | stat.S_IFCHR, os.makedev(major, minor))
            os.chmod(dev / name, FOR_ALL)
        for name in PIPES:
            os.mkfifo(dev / name)
            os.chmod(dev / name, FOR_ALL)
        for name in LINKS.keys() - {*PIPES, "ptmx"}:
            os.symlink(LINKS[name], dev / name)
        for name in ("shm", "mqueue"):
            (dev / name).mkdir()
            os.chmod(dev / name, SHARED_DIRECTORY)
        return dev

    def put_kernels(self, dev: Path) -> None:
        """The kernel's own directories: no link leads there, and nothing written there is kept."""
        for name in ("/dev", *KERNEL_DIRECTORIES):
            stubs: list[points.Stub] = []
            os.close(points.own_directory(self._root, name, stubs))
            self._forget(stubs)
            self._place(name, dev if name == "/dev" else self._empty())

    def _empty(self) -> Path:
        made = self._free()
        made.mkdir(mode=0o555)
        return made

    def put(self, mount: StepMount) -> None:
        match mount:
            case FileMount():
                self._place(mount.dest, self._file(mount))
            case TmpfsMount():
                made = self._free()
                made.mkdir()
                os.chmod(made, SHARED_DIRECTORY)
                self._place(mount.dest, made)
            case BindMount():
                self._lend(mount)

    def _file(self, mount: FileMount) -> Path:
        made = self._free()
        with open(made, "xb", opener=_private) as file:
            file.write(mount.data)
            os.fchown(file.fileno(), mount.uid, mount.gid)
            os.fchmod(file.fileno(), mount.mode)
        return made

    def _lend(self, mount: BindMount) -> None:
        """Move the source in; it goes back to where it was."""
        if not mount.movable:
            raise HostError(
                f"{mount.dest}: a directory of this host can't be mounted where nothing can",
                hint="copy it into the image, or build on a host with namespaces",
            )
        source = mount.source
        if mount.selector:
            source = _resolved(os.fspath(source), mount.selector)
        self._place(mount.dest, source, lent=True)

    def _place(self, dest: str, content: Path, *, lent: bool = False) -> None:
        directory, stubs = stat.S_ISDIR(content.lstat().st_mode), list[points.Stub]()
        found = points.walk(self._root, dest, stubs, directory=directory)
        self._forget(stubs)
        try:
            status = os.fstat(found)
            if stat.S_ISDIR(status.st_mode) != directory:
                wanted = "directory" if directory else "file"
                raise BuildError(f"cannot mount over {dest}: the image has no {wanted} there")
            if os.path.samestat(status, os.fstat(self._root)):
                raise BuildError(f"cannot mount over {dest}: it leads to the root directory")
            target = Path(os.readlink(f"/proc/self/fd/{found}"))
        finally:
            os.close(found)
        self.moved.add(status.st_ino)
        exchange = _Exchange(target, content, self._free(), self._free())
        self._undo.callback(exchange.undo, back=content if lent else None)

    def _forget(self, stubs: list[points.Stub]) -> None:
        for stub in stubs:
            self._undo.callback(stub.remove)

    def _free(self) -> Path:
        self._count += 1
        return self._aside / str(self._count)


class _Exchange:
    """`content` in the place of `target`, which is `kept`; `trash` takes what is unwanted."""

    def __init__(self, target: Path, content: Path, kept: Path, trash: Path) -> None:
        self._name, self._kept, self._trash = target.name, kept, trash
        self._identity = content.lstat()
        self._above = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._before = os.fstat(self._above)
        os.rename(self._name, kept, src_dir_fd=self._above)
        os.rename(content, self._name, dst_dir_fd=self._above)
        self._touched = os.fstat(self._above).st_mtime_ns

    def undo(self, *, back: Path | None) -> None:
        """The directory around it keeps its times unless the step changed it itself."""
        alone = os.fstat(self._above).st_mtime_ns == self._touched
        with suppress(FileNotFoundError):  # the step took it away
            found = os.stat(self._name, dir_fd=self._above, follow_symlinks=False)
            mine = back is not None and os.path.samestat(found, self._identity)
            to = back if back is not None and mine else self._trash
            os.rename(self._name, to, src_dir_fd=self._above)
        with suppress(FileNotFoundError):  # the directory is gone
            os.rename(self._kept, self._name, dst_dir_fd=self._above)
        if alone:
            os.utime(self._above, ns=(self._before.st_atime_ns, self._before.st_mtime_ns))
        os.close(self._above)


@contextmanager
def placed(places: Places, dev: Path, mounts: Sequence[StepMount]) -> Iterator[None]:
    """All of them, for the length of the block."""
    try:
        places.put_kernels(dev)
        for mount in mounts:
            places.put(mount)
        yield
    except RefusedError as refusal:
        raise BuildError(str(refusal)) from refusal
    finally:
        places.clear()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _resolved(source: str, selector: str) -> Path:
    """A path inside the source, whatever links lie on the way."""
    root = os.open(source, os.O_PATH | os.O_CLOEXEC)
    try:
        found = syscalls.open_in_root(root, selector)
    finally:
        os.close(root)
    try:
        return Path(os.readlink(f"/proc/self/fd/{found}"))
    finally:
        os.close(found)
