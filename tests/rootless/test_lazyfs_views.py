"""A layer looks the same through the lazy mount as it does unpacked from its tar."""

import errno
import io
import os
import shutil
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import layers
from support.inside import inside, swept
from support.lazymount import describe, lazyfs

from lazybuild.estargz import tar
from lazybuild.estargz.entry import Entry, Item, Kind
from lazybuild.estargz.streams import decompress
from lazybuild.snapshots.unpack import unpack
from lazybuild.store import Place

pytestmark = pytest.mark.rootless

FOLDERS = st.sampled_from(["", "a/", "a/b/", "c/"])
NAMES = st.sampled_from(["x", "y", "b", "ü", "l" * 200, ".wh.x", ".wh.gone", ".wh..wh..opq"])
MODES = st.sampled_from([0o644, 0o4755, 0o2711, 0o000, 0o1777])
OWNERS = st.sampled_from([0, 1, 1000])
XATTRS = st.sampled_from([{}, {"user.one": b"1"}, {"user.overlay.opaque": b"y"}])
BYTES = st.binary(max_size=40) | st.integers(0, 255).map(lambda n: bytes([n]) * 9000)
KINDS = st.sampled_from(["file", "file", "dir", "soft", "hard", "fifo"])


@st.composite
def stacks(draw):
    """Items as a tar may hold them: any order that makes sense, duplicates, links to what is."""
    items, files = [], []
    for _ in range(draw(st.integers(0, 12))):
        name = draw(FOLDERS) + draw(NAMES)
        kind = "file" if ".wh." in name else draw(KINDS)
        if kind == "hard" and not files:
            kind = "file"
        items.append(draw(one(name, kind, files)))
        if kind == "file" and ".wh." not in name:
            files.append(name)
    return keep_sane(items)


@st.composite
def one(draw, name, kind, files):
    data = draw(BYTES) if kind == "file" and ".wh." not in name else b""
    fields = {"mode": draw(MODES), "uid": draw(OWNERS), "gid": draw(OWNERS), "xattrs": {}}
    fields["mtime"] = draw(st.integers(0, 2**31)) * 10**9
    match kind:
        case "dir":
            return Item(Entry(name=name, kind=Kind.DIR, **fields))
        case "soft":
            return Item(Entry(name=name, kind=Kind.SYMLINK, link="../" + name, **fields))
        case "hard":
            target = draw(st.sampled_from(files))
            return Item(Entry(name=name, kind=Kind.HARDLINK, link=target, **fields))
        case "fifo":
            return Item(Entry(name=name, kind=Kind.FIFO, **fields))
    fields["xattrs"] = draw(XATTRS) if ".wh." not in name else {}
    return layers.file(name, data, **fields)


def keep_sane(items):
    """Without names below a name that is no directory, and each name once."""
    seen, kept = {}, []
    for item in items:
        name = item.entry.name
        above = [name[:at] for at, letter in enumerate(name) if letter == "/"]
        if name in seen or any(seen.get(path, Kind.DIR) is not Kind.DIR for path in above):
            continue
        if item.entry.kind is not Kind.DIR and any(other.startswith(name + "/") for other in seen):
            continue
        if item.entry.kind is Kind.HARDLINK and seen.get(item.entry.link) is not Kind.REG:
            continue
        seen[name] = item.entry.kind
        kept.append(item)
    return kept


def seen_below(root):
    found, inodes = {}, {}
    for folder, directories, names in os.walk(root):
        directories.sort()
        for name in (*directories, *sorted(names)):
            path = os.path.join(folder, name)
            found[os.path.relpath(path, root)] = look(path, inodes)
    return found


def look(path, inodes):
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    whiteout = kind == stat.S_IFCHR and not status.st_rdev
    first = inodes.setdefault(status.st_ino, path.rsplit("/", 1)[-1])
    more = b""
    if kind == stat.S_IFREG:
        with open(path, "rb") as file:
            more = file.read()
    elif kind == stat.S_IFLNK:
        more = (os.readlink(path), status.st_size)
    if whiteout:
        return "whiteout"
    xattrs = {} if kind == stat.S_IFLNK else xattrs_of(path)
    links = (status.st_nlink, first) if kind == stat.S_IFREG and status.st_nlink > 1 else ()
    modified = status.st_mtime_ns if kind == stat.S_IFREG else 0
    owner = (status.st_uid, status.st_gid)
    return (stat.filemode(status.st_mode), owner, links, modified, xattrs, more)


def xattrs_of(path):
    try:
        return {name: os.getxattr(path, name) for name in os.listxattr(path)}
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:  # a mount of layers that have none
            raise
        return {}


def same_views(place):
    with lazyfs(place) as fs:

        @given(stacks())
        @settings(
            max_examples=60, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def check(items):
            blob, written = layers.write(items, chunk_size=4096)
            path = place / "blob"
            path.write_bytes(blob)
            lazy, reason = fs.add(describe(written), written.toc_digest, blob=Place.whole(path))
            assert lazy is not None, reason
            eager = place / "eager"
            shutil.rmtree(eager, ignore_errors=True)
            eager.mkdir()
            unpack(tar.read(decompress(io.BytesIO(blob))), eager)
            one, two = seen_below(lazy), seen_below(eager)
            assert {
                k: (one.get(k), two.get(k)) for k in one | two if one.get(k) != two.get(k)
            } == {}

        check()


def test_the_lazy_view_is_the_view_of_the_tar(tmp_path):
    (tmp_path / "place").mkdir()
    try:
        inside(same_views, tmp_path / "place")
    finally:
        swept(tmp_path / "place")
