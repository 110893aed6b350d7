"""Mount points: finding them inside a root without leaving it, making and unmaking them.

Works on descriptors only. Nobody else changes the tree while it is walked (no process of the step
runs yet), and still no call here lets the kernel follow a link.
"""

import errno
import os
import stat

from lazybuild.executor.sandbox.refused import RefusedError
from lazybuild.linux import syscalls

MAX_LINKS = 40


class Stub:
    """A mount point that the image lacked: removed afterwards if it is still the one made."""

    def __init__(self, parent: int, name: str, *, directory: bool) -> None:
        self.parent, self.name = os.dup(parent), name
        self.before = os.fstat(parent)
        if directory:
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            touch(parent, name)
        self.identity = self._look()
        self.touched = os.fstat(parent).st_mtime_ns

    def _look(self) -> tuple[int, int, int]:
        found = os.stat(self.name, dir_fd=self.parent, follow_symlinks=False)
        size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
        return found.st_ino, stat.S_IFMT(found.st_mode), size

    def remove(self) -> None:
        """Undo, the parent's times too unless the step changed that directory itself."""
        try:
            if self._look() == self.identity:
                self._unmake()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as failure:
            if failure.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise

    def _unmake(self) -> None:
        alone = os.fstat(self.parent).st_mtime_ns == self.touched
        if stat.S_ISDIR(self.identity[1]):
            os.rmdir(self.name, dir_fd=self.parent)
        else:
            os.unlink(self.name, dir_fd=self.parent)
        if alone:
            directory = opened(self.parent, ".", os.O_RDONLY | os.O_DIRECTORY)
            os.utime(directory, ns=(self.before.st_atime_ns, self.before.st_mtime_ns))
            os.close(directory)


def opened(parent: int, name: str, flags: int = os.O_PATH) -> int:
    return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=parent)


def touch(parent: int, name: str) -> None:
    os.close(opened(parent, name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def is_directory(fd: int) -> bool:
    return stat.S_ISDIR(os.fstat(fd).st_mode)


def reach(parent: int, name: str, stubs: list[Stub], *, directory: bool) -> int:
    """Open one name, made first when it is missing."""
    try:
        return opened(parent, name)
    except FileNotFoundError:
        stubs.append(Stub(parent, name, directory=directory))
        return opened(parent, name)


def walk(root: int, path: str, stubs: list[Stub], *, directory: bool) -> int:
    """Open `path` as a process chrooted to `root` would, making what is missing."""
    names, trail, links = path.split("/")[::-1], [os.dup(root)], 0
    try:
        while names:
            name = names.pop()
            if name == "..":
                _shorten(trail, max(1, len(trail) - 1))
            if name in ("", ".", ".."):
                continue
            found = reach(trail[-1], name, stubs, directory=directory or any(names))
            if not stat.S_ISLNK(os.fstat(found).st_mode):
                trail.append(found)
                continue
            links += 1
            names += _link_names(found, path, links, trail)
        return trail.pop()
    finally:
        _shorten(trail, 0)


def _link_names(link: int, path: str, count: int, trail: list[int]) -> list[str]:
    """The names a link leads to, last first; an absolute one starts over at the root.

    Those of /proc are refused: some stand for open files, whatever their text says.
    """
    target = os.readlink("", dir_fd=link)
    on_proc = syscalls.filesystem_magic(link) == syscalls.PROC_SUPER_MAGIC
    os.close(link)
    if on_proc or count > MAX_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    if target.startswith("/"):
        _shorten(trail, 1)
    return target.split("/")[::-1]


def _shorten(trail: list[int], length: int) -> None:
    while len(trail) > length:
        os.close(trail.pop())


def own_directory(root: int, name: str, stubs: list[Stub]) -> int:
    """One of the kernel's own directories (/proc, /dev, /sys): no link is followed there."""
    found = reach(root, name.strip("/"), stubs, directory=True)
    if not is_directory(found):
        raise RefusedError("build", f"the image's {name} is not a directory")
    return found


def attach(tree: int, target: int) -> None:
    """Put a detached mount over the file or directory `target` and let go of its descriptor."""
    syscalls.move_mount(tree, dir_fd=target)
    os.close(tree)


def attach_below(parent: int, name: str, tree: int) -> None:
    target = opened(parent, name)
    attach(tree, target)
    os.close(target)


def attach_at(path: str, tree: int) -> None:
    target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    attach(tree, target)
    os.close(target)


def mount_over(root: int, path: str, tree: int, stubs: list[Stub]) -> None:
    """Attach at a path of the image, through its links, inside `root`."""
    directory = is_directory(tree)
    target = walk(root, path, stubs, directory=directory)
    if is_directory(target) != directory:
        wanted = "directory" if directory else "file"
        raise RefusedError("build", f"cannot mount over {path}: the image has no {wanted} there")
    if os.path.samestat(os.fstat(target), os.fstat(root)):
        raise RefusedError("build", f"cannot mount over {path}: it leads to the root directory")
    attach(tree, target)
    os.close(target)


def restrict(tree: int, attributes: int) -> None:
    """Add attributes to a mount and all below it; none is taken away."""
    if attributes:
        syscalls.mount_setattr(dir_fd=tree, add=attributes, recursive=True)
