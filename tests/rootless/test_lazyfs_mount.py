"""Lazy layers through a real mount, as an unprivileged user, alone and below overlay."""

import ctypes
import errno
import mmap
import os
import random
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest
from support.faults import ALWAYS, Fault
from support.inside import inside
from support.layers import file, folder, link
from support.lazymount import Pushed, add_local, describe, go, lazyfs, on_go
from support.registry import LocalRegistry

from lazybuild.errors import DaemonDiedError, HostError, IntegrityError, RegistryError
from lazybuild.estargz.entry import Entry, Item, Kind
from lazybuild.linux import syscalls
from lazybuild.snapshots.lazyfs import watchdog
from lazybuild.snapshots.lazyfs.client import Handlers
from lazybuild.store import Place

pytestmark = pytest.mark.rootless


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


def everything():
    return [
        folder("d", mode=0o2750, uid=3, gid=4),
        file("d/big", noise(300_000), mode=0o4755),
        file("d/empty"),
        link("d/soft", "big"),
        link("d/hard", "d/big", hard=True),
        Item(Entry(name="null", kind=Kind.CHAR, mode=0o666, major=1, minor=3)),
        Item(Entry(name="pipe", kind=Kind.FIFO, mode=0o600)),
        file(".wh.gone"),
        file("d/.wh..wh..opq"),
        file("x", b"x", xattrs={"user.own": b"value"}, mtime=1_600_000_000_000_000_000),
        *(file(f"many/{n:04}", b"%d" % n) for n in range(2000)),
    ]


def view(place):
    with lazyfs(place) as fs:
        root, _ = add_local(fs, place, everything(), chunk_size=65536)
        d = os.lstat(root / "d")
        assert (stat.S_IMODE(d.st_mode), d.st_uid, d.st_gid) == (0o2750, 3, 4)
        big, hard = os.lstat(root / "d/big"), os.lstat(root / "d/hard")
        assert (big.st_ino, big.st_nlink, big.st_size) == (hard.st_ino, 2, 300_000)
        assert stat.S_IMODE(big.st_mode) == 0o4755
        assert (root / "d/big").read_bytes() == noise(300_000)
        assert (root / "d/empty").read_bytes() == b""
        assert os.readlink(root / "d/soft") == "big"
        assert os.lstat(root / "d/soft").st_size == 3
        assert os.lstat(root / "null").st_rdev == os.makedev(1, 3)
        assert stat.S_ISFIFO(os.lstat(root / "pipe").st_mode)
        gone = os.lstat(root / "gone")
        assert stat.S_ISCHR(gone.st_mode)
        assert gone.st_rdev == 0
        assert os.getxattr(root / "d", "user.overlay.opaque") == b"y"
        assert os.listxattr(root / "x") == ["user.own"]
        with pytest.raises(OSError, match="No data"):
            os.getxattr(root / "x", "user.other")
        assert os.lstat(root / "x").st_mtime_ns == 1_600_000_000_000_000_000
        assert sorted(os.listdir(root / "many")) == [f"{n:04}" for n in range(2000)]
        assert sorted(os.listdir(root)) == ["d", "gone", "many", "null", "pipe", "x"]
        with pytest.raises(FileNotFoundError):
            os.lstat(root / "absent")
        with pytest.raises(OSError, match="Read-only"):
            (root / "new").write_bytes(b"")
        assert os.statvfs(root).f_namemax == 255
        with open(root / "d/big", "rb") as half:
            half.seek(299_990)
            assert half.read(100) == noise(300_000)[299_990:]


def test_the_view_of_a_layer(tmp_path):
    inside(view, tmp_path)


def resident(path):
    """For each page of a file, whether the kernel has it."""
    with path.open("rb") as held, mmap.mmap(held.fileno(), 0, mmap.MAP_PRIVATE) as view:
        start = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(view)))
        pages = (ctypes.c_ubyte * (-(-len(view) // mmap.PAGESIZE)))()
        assert ctypes.CDLL(None).mincore(start, ctypes.c_size_t(len(view)), pages) == 0
        return [page & 1 for page in pages]


def read_through(place):
    long = noise(9_000_000)
    with lazyfs(place) as fs:
        root, _ = add_local(fs, place, [file("long", long), file("other", long[1:])])
        with (root / "long").open("rb", buffering=0) as one:
            assert one.read(1 << 18) == long[: 1 << 18]
            pages = resident(root / "long")
            assert (all(pages[:1024]), any(pages[1100:])) == (True, False)  # a chunk has 1024
            assert one.read() + one.read() == long[1 << 18 :]
        with (root / "other").open("rb", buffering=0) as one:
            one.seek(2 << 20)
            assert one.read(5) == long[(2 << 20) + 1 :][:5]
        assert sum(resident(root / "other")) < 100


def test_a_file_that_is_read_through_is_in_the_kernels_cache_chunk_by_chunk(tmp_path):
    inside(read_through, tmp_path)


def later(place):
    with lazyfs(place) as fs:
        first, _ = add_local(fs, place, [file("a", b"1")])
        wanted = first.parent / ("0" * 64)
        assert not wanted.exists()
        second, _ = add_local(fs, place, [file("b", b"2")])
        assert (second / "b").read_bytes() == b"2"
        assert (first / "a").read_bytes() == b"1"
        again, _ = add_local(fs, place, [file("b", b"2")])
        assert again == second
    assert os.listdir(place / "lazy/p") == []


def test_layers_are_added_while_the_mount_is_in_use(tmp_path):
    inside(later, tmp_path)


def overlaid(place):
    with lazyfs(place) as fs:
        base, _ = add_local(fs, place, [file("d/old", b"old"), file("keep", noise(100_000)),
                                        file("e/gone", b"1"), file("bye", b"2")])  # fmt: skip
        top, _ = add_local(fs, place, [file("d/.wh..wh..opq"), file("d/new", b"new"),
                                       file("e/.wh.gone"), file(".wh.bye")])  # fmt: skip
        for name in ("upper", "work", "merged"):
            (place / name).mkdir()
        merged = place / "merged"
        options = f"userxattr,lowerdir={top}:{base},upperdir={place}/upper,workdir={place}/work"
        syscalls.mount("overlay", merged, "overlay", 0, options)
        assert os.listdir(merged / "d") == ["new"]
        assert os.listdir(merged / "e") == []
        assert sorted(os.listdir(merged)) == ["d", "e", "keep"]
        with open(merged / "keep", "ab") as kept:
            kept.write(b"!")
        assert (merged / "keep").read_bytes() == noise(100_000) + b"!"
        os.rename(merged / "d/new", merged / "d/renamed")
        assert (merged / "d/renamed").read_bytes() == b"new"
        traced = [path for _, path in fs.trace()]
        assert traced == ["keep", "d/new"]
        syscalls.umount(merged)


def test_overlay_takes_lazy_layers_as_lowers(tmp_path):
    inside(overlaid, tmp_path)


def remote(place, pushed):
    written = pushed.written
    with lazyfs(place) as fs:
        root = pushed.add(fs)
        assert (root / "f07").read_bytes() == noise(50_000, 7)
        stats = fs.stats()[written.digest]
        assert 50_000 <= stats.bytes_fetched < 500_000
        assert stats.chunks_read == 1
        assert len(fs.chunks_read(written.digest)) == 1
        fs.prefetch(written.digest, names=[f"f{n:02}" for n in range(10, 20)])
        assert fs.settle(10)
        before = fs.stats()[written.digest].requests
        for n in range(10, 20):
            assert (root / f"f{n:02}").read_bytes() == noise(50_000, n)
        assert fs.stats()[written.digest].requests == before
        fs.probe(written.digest)
        blob = fs.whole(written.digest)
        assert blob.stat().st_size == written.size
        assert fs.ping() == 0.0
    with lazyfs(place) as fs:
        pushed.add(fs)
        assert (root / "f15").read_bytes() == noise(50_000, 15)
        assert fs.stats()[written.digest].requests == 0


def test_a_layer_at_a_registry(tmp_path):
    with LocalRegistry() as registry:
        items = [file(f"f{n:02}", noise(50_000, n)) for n in range(30)]
        inside(remote, tmp_path, Pushed(registry, items))


def refused(place, pushed, kind, says):
    failures = []
    with lazyfs(place, handlers=Handlers(failed=failures.append)) as fs:
        root = pushed.add(fs)
        go(place)
        with pytest.raises(OSError) as caught:
            (root / "f").read_bytes()
        assert caught.value.errno == errno.EIO
        deadline = time.monotonic() + 5
        while not failures and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (failures[0].digest, failures[0].path) == (pushed.written.digest, "f")
        assert isinstance(failures[0].error, kind)
        assert says in str(failures[0].error)


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        (Fault(path="/blobs/", flip=300, times=ALWAYS), IntegrityError, "is corrupt at"),
        (Fault(path="/blobs/", status=503, times=ALWAYS), RegistryError, "127.0.0.1"),
        (Fault(path="/blobs/", status=404, times=ALWAYS), RegistryError, "127.0.0.1"),
        (Fault(path="/blobs/", reset=True, times=ALWAYS), RegistryError, "127.0.0.1"),
    ],
)
def test_a_read_that_fails_is_eio_and_a_reason(tmp_path, fault, kind, says):
    with LocalRegistry() as registry:
        pushed = Pushed(registry, [file("f", noise(50_000)), file("g", b"g")])
        with on_go(tmp_path, lambda: registry.fault(fault)):
            inside(refused, tmp_path, pushed, kind, says)


def killed(place):
    died = threading.Event()
    with lazyfs(place, handlers=Handlers(died=died.set)) as fs:
        root, _ = add_local(fs, place, [file("f", noise(50_000))])
        os.kill(fs.pid, signal.SIGKILL)
        assert died.wait(5)
        assert not fs.alive
        with pytest.raises(OSError) as caught:
            (root / "f").read_bytes()
        assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
        with pytest.raises(DaemonDiedError):
            fs.stats()
    assert os.listdir(place / "lazy/p") == []


def test_a_killed_daemon_is_noticed_and_leaves_no_mount(tmp_path):
    inside(killed, tmp_path)


def orphaned(place):
    child = os.fork()
    if not child:
        with lazyfs(place) as fs:
            add_local(fs, place, [file("f", b"1")])
            (place / "pid").write_text(str(fs.pid))
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    pid = int((place / "pid").read_text())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/fd").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert " fuse.lazybuild " not in Path("/proc/self/mounts").read_text()


def test_a_daemon_whose_client_was_killed_unmounts_and_ends(tmp_path):
    inside(orphaned, tmp_path)


def hung(place):
    with lazyfs(place) as fs:
        root, _ = add_local(fs, place, [file("f", noise(50_000))])
        os.kill(fs.pid, signal.SIGSTOP)
        reader = subprocess.Popen(["cat", str(root / "f")], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)  # fmt: skip
        time.sleep(0.1)
        assert reader.poll() is None
        fs.kill()
        assert reader.wait(5) != 0


def test_a_daemon_that_hangs_can_be_ended_with_its_readers(tmp_path):
    inside(hung, tmp_path)


def refused_layers(place):
    with lazyfs(place) as fs:
        from support import layers  # noqa: PLC0415

        blob, written = layers.write([file("f", b"data")])
        path = place / "blob"
        path.write_bytes(blob)
        assert fs.add(describe(written), "", blob=Place.whole(path)) == (
            None,
            "its manifest vouches for no TOC",
        )
        with pytest.raises(IntegrityError, match="TOC digest"):
            fs.add(describe(written), "sha256:" + "0" * 64, blob=Place.whole(path))
        path.write_bytes(blob[:-10])
        assert fs.add(describe(written), written.toc_digest, blob=Place.whole(path)) == (
            None,
            "it has no TOC",
        )


def test_layers_that_cannot_be_lazy_say_why(tmp_path):
    inside(refused_layers, tmp_path)


def test_a_host_that_cannot_mount_is_told_by_the_first_call(tmp_path, monkeypatch):
    """Outside of a namespace an ordinary user can't mount; starting itself waits for nothing."""
    monkeypatch.setattr(watchdog, "INTERVAL", 0.01)
    with lazyfs(tmp_path) as fs:
        with pytest.raises(HostError):
            fs.stats()
        watchdog.watch(fs, threading.Event(), patience=0)
        time.sleep(0.2)
        assert fs.alive, "that it can't mount is for those who want it to: no hang"
