"""A layer looks the same mounted lazily, unpacked from its tar, and told by Python's tarfile."""

import io
import posixpath
import shutil
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import layers
from support.inside import inside, swept
from support.lazymount import describe, lazyfs

from lazybuild.estargz import tar
from lazybuild.estargz.entry import Entry, Item, Kind
from lazybuild.estargz.streams import decompress
from lazybuild.estargz.tail import Compression
from lazybuild.snapshots.dirtree import DirTree
from lazybuild.snapshots.tree import walk
from lazybuild.snapshots.unpack import unpack
from lazybuild.store import Place

pytestmark = pytest.mark.rootless

LONG = "d" * 200
FOLDERS = st.sampled_from(["", "a/", "a/b/", "c/", f"{LONG}/", f"{LONG}/{LONG}/"])
NAMES = st.sampled_from(
    ["x", "y", "b", "ü", "l" * 200, "new\nline", ".wh.x", ".wh.b", ".wh.gone", ".wh..wh..opq"]
)
MODES = st.sampled_from([0o644, 0o4755, 0o2711, 0o000, 0o1777])
OWNERS = st.sampled_from([0, 1, 1000])
XATTRS = st.sampled_from(
    [
        {},
        {"user.one": b"1"},
        {"user.two": b"\0\xff", "user.one": b""},
        {"user.overlay.opaque": b"y"},
    ]
)
SPARSE = st.integers(1, 5).map(lambda count: b"x" + bytes(count * 9000) + b"y" + bytes(5000))
BYTES = st.binary(max_size=40) | st.integers(0, 255).map(lambda n: bytes([n]) * 9000) | SPARSE
DEVICES = st.sampled_from([(1, 3), (8, 300), (0, 1), (4095, 70000)])
KINDS = st.sampled_from(["file", "file", "dir", "soft", "hard", "fifo", "char", "block"])
WORDS = {
    "dir": Kind.DIR, "soft": Kind.SYMLINK, "hard": Kind.HARDLINK, "fifo": Kind.FIFO,
    "char": Kind.CHAR, "block": Kind.BLOCK,
}  # fmt: skip
LAZY = st.sampled_from([kind for kind in Compression if kind.lazy])


@st.composite
def stacks(draw):
    """Items as a tar may hold them: any order that makes sense, links to what is."""
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
    fields = {"mode": draw(MODES), "uid": draw(OWNERS), "gid": draw(OWNERS), "xattrs": {}}
    fields["mtime"] = draw(st.integers(0, 2**31)) * 10**9
    more = {}
    match kind:
        case "dir":
            more["xattrs"] = draw(XATTRS)
        case "soft":
            more["link"] = "../" + name
        case "hard":
            more["link"] = draw(st.sampled_from(files))
        case "char" | "block":
            more["major"], more["minor"] = draw(DEVICES)
    if kind != "file":
        return Item(Entry(name=name, kind=WORDS[kind], **{**fields, **more}))
    if ".wh." in name:
        return layers.file(name, **fields)
    return layers.file(name, draw(BYTES), **{**fields, "xattrs": draw(XATTRS)})


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


def told(tree):
    """What a directory in overlay's format holds, by path; its names of one file as a set."""
    found, names = {}, {}
    for path, node in walk(tree):
        if node.kind is Kind.DIR:
            found |= {posixpath.join(path, gone): "whiteout" for gone in tree.whiteouts(path)}
        if path and node.identity is not None:
            names.setdefault(node.identity, set()).add(path)
    for path, node in walk(tree):
        if path:
            content = tree.open(path).read() if node.kind is Kind.REG else node.link
            hidden = node.kind is Kind.DIR and tree.opaque(path)
            linked = frozenset(names.get(node.identity, ())) if node.kind is Kind.REG else ()
            found[path] = view(node.kind, node, content, hidden, linked)
    return found


def view(kind, node, content, hidden, linked):
    """The parts of a file that all three ways must agree about."""
    device = (node.major, node.minor) if kind in (Kind.CHAR, Kind.BLOCK) else ()
    modified = node.mtime if kind is Kind.REG else 0
    mode = 0 if kind is Kind.SYMLINK else node.mode
    owner = (node.uid, node.gid)
    links = linked if len(linked) > 1 else frozenset()
    return (str(kind), mode, owner, modified, dict(node.xattrs), content, device, hidden, links)


TYPES = {
    tarfile.REGTYPE: Kind.REG, tarfile.DIRTYPE: Kind.DIR, tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.CHRTYPE: Kind.CHAR, tarfile.BLKTYPE: Kind.BLOCK, tarfile.FIFOTYPE: Kind.FIFO,
}  # fmt: skip


def by_tarfile(data):
    """The same from the archive, by the rules of the OCI image specification."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = {it.name.strip("/"): it for it in archive if not it.name.endswith(".landmark")}
        bodies = {
            name: archive.extractfile(it).read() for name, it in members.items() if it.isreg()
        }
    return merged(members, bodies)


def merged(members, bodies):
    marks = {name for name in members if posixpath.basename(name).startswith(".wh.")}
    opaque = {posixpath.dirname(name) for name in marks if name.endswith(".wh..wh..opq")}
    gone = {
        posixpath.join(posixpath.dirname(name), posixpath.basename(name)[4:])
        for name in marks
        if not name.endswith(".wh..wh..opq")
    }
    plain = {name: it for name, it in members.items() if name not in marks}
    target = {name: it.linkname.strip("/") if it.islnk() else name for name, it in plain.items()}
    implied = {above for name in members for above in parents(name)} - plain.keys()
    here = plain.keys() | implied
    found = dict.fromkeys(gone - here, "whiteout")
    for name in implied:
        found[name] = ("dir", 0o755, (0, 0), 0, {}, "", (), name in opaque | gone, frozenset())
    for name in plain:
        names = frozenset(other for other in plain if target[other] == target[name])
        member = plain[target[name]]
        hidden = member.isdir() and name in opaque | gone
        body = bodies.get(target[name], member.linkname if member.issym() else "")
        found[name] = view(TYPES[member.type], Member(member), body, hidden, names)
    return found


def parents(name):
    return [name[:at] for at, letter in enumerate(name) if letter == "/"]


class Member:
    """A `TarInfo` with the fields of a `Node`."""

    def __init__(self, member):
        self.mode, self.uid, self.gid = member.mode, member.uid, member.gid
        self.mtime = int(member.mtime) * 10**9
        self.major, self.minor = member.devmajor, member.devminor
        self.xattrs = {
            key.removeprefix("SCHILY.xattr."): value.encode("utf-8", "surrogateescape")
            for key, value in member.pax_headers.items()
            if key.startswith("SCHILY.xattr.") and ".overlay." not in key
        }


def same_views(place):
    with lazyfs(place) as fs:

        @given(stacks(), LAZY)
        @settings(
            max_examples=60, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def check(items, compression):
            blob, written = layers.write(items, chunk_size=4096, compression=compression)
            path = place / "blob"
            path.write_bytes(blob)
            lazy, reason = fs.add(describe(written), written.toc_digest, blob=Place.whole(path))
            assert lazy is not None, reason
            eager = place / "eager"
            shutil.rmtree(eager, ignore_errors=True)
            eager.mkdir()
            raw = decompress(io.BytesIO(blob)).read()
            unpack(tar.read(io.BytesIO(raw)), eager)
            expected = by_tarfile(raw)
            assert differing(told(DirTree(lazy)), expected) == {}
            assert differing(told(DirTree(eager)), expected) == {}

        check()


def differing(one, two):
    return {key: (one.get(key), two.get(key)) for key in one | two if one.get(key) != two.get(key)}


def test_the_lazy_view_is_the_view_of_the_tar(tmp_path):
    (tmp_path / "place").mkdir()
    try:
        inside(same_views, tmp_path / "place")
    finally:
        swept(tmp_path / "place")
