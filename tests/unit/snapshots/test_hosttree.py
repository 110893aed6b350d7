import os
import socket
import threading
import time

import pytest

from lazybuild.errors import BuildError
from lazybuild.estargz.entry import Kind
from lazybuild.snapshots.contenthash import Selection, content_digest
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.snapshots.patterns import Patterns
from lazybuild.snapshots.tree import resolve, walk


class Rules:
    def __init__(self, *patterns):
        self.patterns = Patterns(patterns)

    def excludes(self, path):
        return self.patterns.match_deep(path)

    def may_include_below(self, path):
        return self.patterns.reaches_below(path, negated=True)


class Memory:
    def __init__(self):
        self.digests = {}

    def load(self, keys):
        return {key: self.digests[key] for key in keys if key in self.digests}

    def save(self, digests):
        self.digests.update(digests)


def listed(tree):
    return [path for path, _ in walk(tree) if path]


def test_owners_are_root_s(tmp_path):
    (tmp_path / "f").write_text("x")
    node = HostTree(tmp_path).lookup("f")
    assert (node.uid, node.gid, node.size, node.kind) == (0, 0, 1, Kind.REG)


def test_what_is_ignored_is_not_there(tmp_path):
    for name in ("a/x", "a/y", "b/x", "c/d/e"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    tree = HostTree(tmp_path, ignore=Rules("a/x", "b", "c", "!c/d/e"))
    assert listed(tree) == ["a", "a/y", "c", "c/d", "c/d/e"]
    with pytest.raises(BuildError):
        tree.open("b/x")
    assert listed(HostTree(tmp_path, ignore=Rules("*", "!a/n*"))) == []


def test_ignored_directories_are_not_read(tmp_path):
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked/f").touch()
    (tmp_path / "ok").touch()
    seen = []
    tree = HostTree(tmp_path, ignore=Rules("locked"))
    read = tree._read
    tree._read = lambda path: seen.append(path) or read(path)
    assert listed(tree) == ["ok"]
    assert seen == [""]


def test_digests_are_remembered_until_the_file_changes(tmp_path):
    (tmp_path / "f").write_text("one")
    os.utime(tmp_path / "f", ns=(1, 1))
    time.sleep(0.06)
    memory = Memory()
    first = HostTree(tmp_path, digests=memory)
    before = content_digest(first, Selection(path=""))
    first.flush()
    assert len(memory.digests) == 1
    key = next(iter(memory.digests))
    memory.digests[key] = "sha256:" + "0" * 64
    assert HostTree(tmp_path, digests=memory).digest("f") == "sha256:" + "0" * 64
    (tmp_path / "f").write_text("two")
    assert content_digest(HostTree(tmp_path, digests=memory), Selection(path="")) != before


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path):
    (tmp_path / "f").write_text("one")
    memory = Memory()
    tree = HostTree(tmp_path, digests=memory)
    tree.digest("f")
    tree.flush()
    assert memory.digests == {}


def test_links_out_of_the_context_stay_links(tmp_path):
    (tmp_path / "up").symlink_to("../../../../../etc")
    (tmp_path / "abs").symlink_to("/etc")
    tree = HostTree(tmp_path)
    for name in ("up", "abs"):
        assert tree.lookup(f"{name}/passwd") is None
        assert resolve(tree, f"{name}/passwd") == "etc/passwd"
        with pytest.raises(BuildError):
            tree.open(f"{name}/passwd")


def test_odd_files_do_not_hang_and_sockets_are_left_out(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "sock"))
        tree = HostTree(tmp_path)
        assert listed(tree) == ["pipe"]
        assert tree.lookup("pipe").kind is Kind.FIFO
        with pytest.raises(BuildError):
            tree.open("pipe")


def test_a_file_that_became_a_fifo_since_it_was_seen(tmp_path):
    (tmp_path / "f").write_text("x")
    tree = HostTree(tmp_path)
    assert tree.lookup("f").kind is Kind.REG
    (tmp_path / "f").unlink()
    os.mkfifo(tmp_path / "f")
    with pytest.raises(BuildError, match="not a regular file"):
        tree.open("f")


def test_a_directory_swapped_for_a_link_while_we_look(tmp_path):
    outside = tmp_path / "outside"
    context = tmp_path / "context"
    for place in (outside, context / "real"):
        place.mkdir(parents=True)
        (place / "f").write_text("secret" if place == outside else "mine")
    stop = threading.Event()

    def swap():
        other = context / "other"
        while not stop.is_set():
            os.rename(context / "real", other)
            os.symlink(outside, context / "real")
            os.unlink(context / "real")
            os.rename(other, context / "real")
            time.sleep(0.0002)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        read = [attempt(context) for _ in range(400)]
    finally:
        stop.set()
        thread.join()
    assert b"secret" not in read
    assert b"mine" in read


def attempt(context):
    tree = HostTree(context)
    try:
        tree.lookup("real/f")
        with tree.open("real/f") as stream:
            return stream.read()
    except (BuildError, OSError):
        return None


def test_deep_contexts(tmp_path):
    deep = tmp_path
    for _ in range(300):
        deep = deep / "d"
    os.makedirs(deep)
    (deep / "f").write_text("x")
    tree = HostTree(tmp_path)
    assert tree.lookup("/".join(["d"] * 300) + "/f").size == 1
    assert content_digest(HostTree(tmp_path), Selection(path=""))


def test_extended_attributes_are_seen(tmp_path):
    (tmp_path / "f").write_text("x")
    os.setxattr(tmp_path / "f", "user.note", b"1")
    os.setxattr(tmp_path / "f", "user.overlay.opaque", b"y")
    assert dict(HostTree(tmp_path).lookup("f").xattrs) == {"user.note": b"1"}


def test_hard_links_are_one_file(tmp_path):
    (tmp_path / "a").write_text("x")
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").write_text("x")
    tree = HostTree(tmp_path)
    assert tree.lookup("a").identity == tree.lookup("b").identity is not None
    assert tree.lookup("c").identity is None


def remembered(tmp_path):
    """A memory that has the file `f` of a directory."""
    (tmp_path / "f").write_text("one")
    time.sleep(0.06)
    memory = Memory()
    tree = HostTree(tmp_path, digests=memory)
    tree.digest("f")
    tree.flush()
    assert len(memory.digests) == 1
    return memory


def asked(monkeypatch):
    names, listxattr = [], os.listxattr
    monkeypatch.setattr(
        os, "listxattr", lambda path, **how: names.append(path[-1]) or listxattr(path, **how)
    )
    return names


def test_a_remembered_file_is_not_asked_for_attributes_until_it_may_have_some(
    tmp_path, monkeypatch
):
    memory, names = remembered(tmp_path), asked(monkeypatch)
    assert HostTree(tmp_path, digests=memory).lookup("f").xattrs == {}
    assert names == []
    os.setxattr(tmp_path / "f", "user.note", b"1")
    assert dict(HostTree(tmp_path, digests=memory).lookup("f").xattrs) == {"user.note": b"1"}
    assert names == ["f"]


def test_a_file_with_attributes_is_remembered_with_them_unsaid(tmp_path):
    (tmp_path / "f").write_text("one")
    os.setxattr(tmp_path / "f", "user.note", b"1")
    time.sleep(0.06)
    memory = Memory()
    for _ in range(2):
        tree = HostTree(tmp_path, digests=memory)
        assert dict(tree.lookup("f").xattrs) == {"user.note": b"1"}
        assert tree.digest("f").startswith("sha256:")
        assert "plain" not in tree.digest("f")
        tree.flush()
    assert [text.endswith("plain") for text in memory.digests.values()] == [False]


def test_a_digest_of_old_learns_that_the_file_is_plain(tmp_path, monkeypatch):
    memory = remembered(tmp_path)
    old = {key: text.removesuffix(" plain") for key, text in memory.digests.items()}
    memory.digests = dict(old)
    tree = HostTree(tmp_path, digests=memory)
    assert tree.digest("f") == next(iter(old.values()))
    tree.flush()
    names = asked(monkeypatch)
    assert HostTree(tmp_path, digests=memory).digest("f") == next(iter(old.values()))
    assert names == []


def test_no_descriptor_is_left_open(tmp_path):
    for name in ("a/f", "b/f"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    before = os.listdir("/proc/self/fd")
    tree = HostTree(tmp_path)
    for name in ("a/f", "b/f", "a/f"):
        with tree.open(name) as stream:
            assert stream.read() == name.encode()
    del tree
    assert os.listdir("/proc/self/fd") == before
