"""Plays the kernel for a step of a builder with a single id: owners, users and devices.

The step's calls wait (seccomp user notification) while this process, which stays outside of the
step's pid namespace and joins its mount namespace, notes the wanted owner on the file, tells the
one that was noted, or makes an empty file with a note of the device. The notes are read by
lazybuild.snapshots.recorded. Whom a process takes itself for after setuid(2) is kept as the soft
limit of a resource that no kernel knows any more (RLIMIT_LOCKS): children inherit it, and exec
keeps it.
"""

import errno
import os
import resource
import stat
import struct

from lazybuild.executor.sandbox import identity
from lazybuild.executor.sandbox.calls import AT_FDCWD, DONE, GO_ON, UNCHANGED, Answerer, Call
from lazybuild.executor.sandbox.makings import (
    KEPT_AS_THEY_ARE,
    Made,
    Makings,
    Moved,
    below,
    links_of,
    mode_of,
    note_link,
)
from lazybuild.linux import answers, ownernotes
from lazybuild.linux.ownernotes import ALL_OTHERS, LINKS, OWNER, ROOT

NOTES = b"user.lazybuild."
DEVICE = "user.lazybuild.device"
LOCKS, FIRST_TAG = 10, 0x4C420000  # RLIMIT_LOCKS, and the number of the first identity in it
MOST_NUMBERS = 1 << 20  # of ids and groups in all identities that a step has taken
AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH = 0x100, 0x1000
HOW_FLAGS = struct.Struct("=Q")  # what struct open_how begins with
ANSWERS = {"stat": 1, "lstat": 1, "fstat": 1, "newfstatat": 2, "statx": 4}  # which argument


class ElsewhereError(Exception):
    """What the path leads to is no file of the image: /dev/stdout, say."""


class Fakes(Answerer):
    """Serves one step, which starts as root with these groups, the first of them its own."""

    def __init__(
        self, listener: int, proc: int, names: "dict[tuple[int, int], str]", groups: "list[int]"
    ) -> None:
        super().__init__(listener, proc, names)
        self._default = 0, groups[0]
        self._people = [identity.starting(0, groups[0], groups)]
        self._numbers = 0
        self._makings = Makings()

    def serve(self) -> None:
        """What was made last is noted when nobody is left to make more."""
        super().serve()
        self._makings.settle_all()

    def _do(self, call: Call) -> "tuple[int, int]":
        self._makings.settle(call.pid)
        name = call.name.removesuffix("32")
        if "xattr" in name or "rlimit" in name:
            return self._about_notes(call)
        if name.startswith(("get", "set")):
            return DONE[0], self._about_user(call, name)
        if "stat" in name:
            return self._stat(call)
        if name.startswith("mknod"):
            return self._mknod(call)
        if "chown" in name:
            self._chown(call)
            return DONE
        return self._rename(call) if name.startswith("rename") else self._create(call)

    # stat

    def _stat(self, call: Call) -> "tuple[int, int]":
        """The kernel does it, save for files whose owner is noted. Changes nothing, so links of
        /proc may be followed.
        """
        path, flags = self._asked_of(call)
        if not path:
            return GO_ON
        follow = not flags & AT_SYMLINK_NOFOLLOW
        owner = _noted(path, follow=follow)
        if owner is None or owner == ROOT:
            return GO_ON
        if call.name == "statx":
            found = answers.statx_as_owned(path, flags, call.args[3], owner)
        else:
            found = answers.stat_as_owned(path, flags, owner)
        self._give(call, call.args[ANSWERS[call.name]], found)
        return DONE

    def _asked_of(self, call: Call) -> "tuple[bytes, int]":
        """A path from /proc, where we are, and the flags; empty for what is none of the image."""
        if call.name == "fstat":
            return b"%d/fd/%d" % (call.pid, call.number(0)), 0
        if call.name in ("stat", "lstat"):
            at, place, flags = AT_FDCWD, 0, AT_SYMLINK_NOFOLLOW if call.name == "lstat" else 0
        else:
            at, place = call.number(0), 1
            flags = call.args[2 if call.name == "statx" else 3] & 0xFFFFFFFF
        path = self._text(call, call.args[place])
        if path.startswith((b"/proc/", b"/dev/", b"/sys/")):
            return b"", 0
        if path.startswith(b"/"):
            return b"%d/root%s" % (call.pid, path), flags & AT_SYMLINK_NOFOLLOW
        start = b"%d/cwd" % call.pid if at == AT_FDCWD else b"%d/fd/%d" % (call.pid, at)
        if path:
            return start + b"/" + path, flags & AT_SYMLINK_NOFOLLOW
        return (start if flags & AT_EMPTY_PATH else b""), 0

    def _about_notes(self, call: Call) -> "tuple[int, int]":
        """What is noted in attributes of files and in a limit is not for programs to set, as cp -a
        and pam_limits would: they are told that they did.
        """
        if "rlimit" in call.name:
            return GO_ON if call.name == "prlimit64" and not call.args[2] else DONE
        name = self._text(call, call.args[3 if call.name.endswith("at") else 1])
        return DONE if name.startswith(NOTES) else GO_ON

    # chown

    def _chown(self, call: Call) -> None:
        try:
            target, at, path = self._target(call)
        except ElsewhereError:
            return
        first = {"fchown": 1, "fchownat": 2}.get(call.name.removesuffix("16").removesuffix("32"), 1)
        uid, gid = call.id_of(first), call.id_of(first + 1)
        try:
            mode = os.fstat(target).st_mode
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                self._note(call, target, uid, gid)
            elif path and (stat.S_ISLNK(mode) or stat.S_ISFIFO(mode)):
                self._note_beside(call, at, path, uid, gid)
        finally:
            os.close(target)

    def _target(self, call: Call) -> "tuple[int, int, bytes]":
        """(the file, the directory that its path begins in, the path)."""
        name = call.name.removesuffix("16").removesuffix("32")
        if name == "fchown":
            return self._directory(call, call.number(0)), AT_FDCWD, b""
        at, place = (call.number(0), 1) if name == "fchownat" else (AT_FDCWD, 0)
        flags = call.args[4] if name == "fchownat" else 0
        path = self._text(call, call.args[place])
        self._still_waits(call)
        if not path and flags & AT_EMPTY_PATH:
            return self._directory(call, at), at, b""
        if path.startswith((b"/proc/", b"/dev/")):
            raise ElsewhereError
        follow = not flags & AT_SYMLINK_NOFOLLOW and name != "lchown"
        found = self._opened(call, at, path, os.O_PATH | (0 if follow else os.O_NOFOLLOW))
        return found, at, path

    def _note(self, call: Call, target: int, uid: int, gid: int) -> None:
        """Write down who should own it. A real chown to ourselves does all else that chown does."""
        file = self._readable(target)
        try:
            before = ownernotes.parse(_value(file, OWNER)) or self._default
            after = self._allowed(call, before, uid, gid)
            os.chown(file, 0, 0)
            _write(file, OWNER, ownernotes.encode(after))
        finally:
            os.close(file)

    def _note_beside(self, call: Call, at: int, path: bytes, uid: int, gid: int) -> None:
        """A link or pipe can't carry a note: its directory names it."""
        directory, name = self._place(call, at, path)
        try:
            before = links_of(directory).get(name, self._default)
            note_link(directory, name, self._allowed(call, before, uid, gid))
        finally:
            os.close(directory)

    def _allowed(
        self, call: Call, before: ownernotes.Owner, uid: int, gid: int
    ) -> ownernotes.Owner:
        after = before[0] if uid == UNCHANGED else uid, before[1] if gid == UNCHANGED else gid
        if not identity.may_give(self._who(call), before, after):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        return after

    # mknod

    def _mknod(self, call: Call) -> "tuple[int, int]":
        at, place = (call.number(0), 1) if call.name == "mknodat" else (AT_FDCWD, 0)
        mode, device = call.args[place + 1] & 0xFFFFFFFF, call.args[place + 2] & 0xFFFFFFFF
        if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) or not device:
            return self._expect(call, at, place, link=stat.S_ISFIFO(mode))
        path = self._text(call, call.args[place])
        self._still_waits(call)
        directory, name = self._place(call, at, path)
        try:
            self._make_device(call, directory, name, mode, device)
        finally:
            os.close(directory)
        return DONE

    def _make_device(self, call: Call, directory: int, name: bytes, mode: int, device: int) -> None:
        letter = "c" if stat.S_ISCHR(mode) else "b"
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        bits = stat.S_IMODE(mode) & ~self._umask(call)
        file = os.open(name, flags, bits, dir_fd=directory)
        try:
            note = f"{letter} {os.major(device)}:{os.minor(device)}"
            os.setxattr(file, DEVICE, note.encode())
            if (owner := self._owner(call, directory)) != ROOT:
                _write(file, OWNER, ownernotes.encode(owner))
        finally:
            os.close(file)

    # users

    def _who(self, call: Call) -> "identity.Identity":
        tag = resource.prlimit(call.pid, LOCKS)[0] - FIRST_TAG
        return self._people[tag if 0 <= tag < len(self._people) else 0]

    def _take_for(self, call: Call, who: "identity.Identity") -> None:
        if who not in self._people:
            self._numbers += sum(map(len, who))
            if self._numbers > MOST_NUMBERS:
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            self._people.append(who)
        hard = resource.prlimit(call.pid, LOCKS)[1]
        self._still_waits(call)
        resource.prlimit(call.pid, LOCKS, (FIRST_TAG + self._people.index(who), hard))

    def _about_user(self, call: Call, name: str) -> int:
        if name.endswith("groups"):
            return self._groups(call, name)
        return self._tell(call, name) if name.startswith("get") else self._become(call, name)

    def _become(self, call: Call, name: str) -> int:
        args = [call.args[at] & 0xFFFFFFFF for at in range(3)]
        who, value = identity.changed(self._who(call), name, args)
        self._take_for(call, who)
        return value

    def _tell(self, call: Call, name: str) -> int:
        ids = self._who(call)[1 if name.endswith("gid") else 0]
        if "res" not in name:
            return ids[identity.EFFECTIVE if name.startswith("gete") else identity.REAL]
        for address, number in zip(call.args[:3], ids[: identity.FILES], strict=True):
            self._give(call, address, struct.pack("=I", number))
        return 0

    def _groups(self, call: Call, name: str) -> int:
        count, address, who = call.args[0] & 0xFFFFFFFF, call.args[1], self._who(call)
        if name == "getgroups":
            if count and count < len(who[2]):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            if count and who[2]:
                self._give(call, address, struct.pack(f"={len(who[2])}I", *who[2]))
            return len(who[2])
        if count > identity.MAX_GROUPS:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        found = answers.read_memory(call.pid, address, count * 4) if count else b""
        if len(found) != count * 4:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
        self._take_for(call, identity.with_groups(who, struct.unpack(f"={count}I", found)))
        return 0

    # what is about to be made

    def _create(self, call: Call) -> "tuple[int, int]":
        """Open and mkdir with their variants; symlink has its path behind the text of the link."""
        relative = call.name.endswith("at") or call.name == "openat2"
        link = call.name.startswith("symlink")
        place = int(relative) + int(link)
        return self._expect(
            call, call.number(place - 1) if relative else AT_FDCWD, place, link=link
        )

    def _expect(self, call: Call, at: int, place: int, *, link: bool) -> "tuple[int, int]":
        """Have whatever the caller makes under a new name belong to whom it takes itself for."""
        if call.name == "openat2" and not self._creates(call):
            return GO_ON
        try:
            path = self._text(call, call.args[place])
            if not link and self._who(call) is self._people[0] and not _hands_on(call, at, path):
                return GO_ON
            directory, name = self._place(call, at, path)
        except OSError:  # the kernel says what is wrong with it
            return GO_ON
        owner = self._owner(call, directory)
        noted = link and {name, ALL_OTHERS} & links_of(directory).keys()
        if mode_of(directory, name) or (owner == ROOT and not noted):
            os.close(directory)
        else:
            self._makings.add(Made(call.pid, directory, name, owner))
        return GO_ON

    def _creates(self, call: Call) -> bool:
        how = answers.read_memory(call.pid, call.args[2], HOW_FLAGS.size)
        return len(how) == HOW_FLAGS.size and bool(HOW_FLAGS.unpack(how)[0] & os.O_CREAT)

    def _owner(self, call: Call, directory: int) -> ownernotes.Owner:
        """Of what the caller makes in a directory, which may hand its own group on."""
        uids, gids, _ = self._who(call)
        group = gids[identity.FILES]
        if os.fstat(directory).st_mode & stat.S_ISGID:
            noted = ownernotes.parse(_value(below(directory, b"."), OWNER))
            group = noted[1] if noted else 0
        return uids[identity.FILES], group

    def _rename(self, call: Call) -> "tuple[int, int]":
        old_at, old = (AT_FDCWD, 0) if call.name == "rename" else (call.number(0), 1)
        new_at, new = (AT_FDCWD, 1) if call.name == "rename" else (call.number(2), 3)
        held: list[tuple[int, bytes]] = []
        try:
            held.append(self._place(call, old_at, self._text(call, call.args[old])))
            held.append(self._place(call, new_at, self._text(call, call.args[new])))
        except OSError:  # the kernel says what is wrong with it
            for directory, _ in held:
                os.close(directory)
            return GO_ON
        source, target = held
        mode, known = mode_of(*source), links_of(source[0])
        beside = bool(mode) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
        owner = ownernotes.owner_of_link(known, source[1])
        if beside and (known or links_of(target[0])):
            self._makings.add(Moved(call.pid, source, target, owner))
        else:
            os.close(source[0])
            os.close(target[0])
        return GO_ON


def _hands_on(call: Call, at: int, path: bytes) -> bool:
    """Whether the directory that a path names something in gives its group to it."""
    start = b"root" if path.startswith(b"/") else b"cwd" if at == AT_FDCWD else b"fd/%d" % at
    above = path.rstrip(b"/").rpartition(b"/")[0]
    return bool(os.stat(b"%d/%s/%s" % (call.pid, start, above)).st_mode & stat.S_ISGID)


def _noted(path: bytes, *, follow: bool) -> "ownernotes.Owner | None":
    """The owner that is noted of a file, or beside a link or pipe; of any other there is none."""
    try:
        return ownernotes.parse(os.getxattr(path, OWNER, follow_symlinks=follow))
    except OSError:
        if follow:
            return None
    directory, _, name = path.rpartition(b"/")
    links = ownernotes.parse_links(_value(directory, LINKS))
    if not links or not _is_beside(path):
        return None
    return ownernotes.owner_of_link(links, name)


def _is_beside(path: bytes) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISLNK(mode) or stat.S_ISFIFO(mode)


def _value(file: "int | bytes", key: str) -> bytes | None:
    try:
        return os.getxattr(file, key)
    except OSError:  # none, or a place that can't have any
        return None


def _write(file: int, key: str, value: bytes) -> None:
    try:
        os.setxattr(file, key, value)
    except OSError as failure:
        if failure.errno not in KEPT_AS_THEY_ARE:
            raise
