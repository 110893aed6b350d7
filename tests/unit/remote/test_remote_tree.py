"""Files that lie with a BuildKit, looked at through its gateway."""

import pytest

from lazybuild.errors import BuildError
from lazybuild.estargz.entry import Kind
from lazybuild.remote import tree as remote
from lazybuild.remote.tree import RemoteTree
from lazybuild.snapshots.tree import resolve
from lazybuild.wire.filesync import GO_DIR, GO_SOCKET, GO_SYMLINK, SentFile

DATA = bytes(range(256)) * 5


class Gateway:
    """The directories and the one file of a ref; counts what it is asked."""

    def __init__(self, folders):
        self.folders = folders
        self.asked = []

    def files(self, ref, path):
        assert ref == "r"
        self.asked.append(path)
        return iter(self.folders[path])

    def read_file(self, ref, path, *, offset, length):
        assert (ref, path) == ("r", "d/f")
        return DATA[offset : offset + length]


@pytest.fixture
def gateway():
    folders = {
        "/": [
            SentFile(path="d", mode=0o755, kind=GO_DIR),
            SentFile(path="l", mode=0o777, kind=GO_SYMLINK, link="/d/f"),
            SentFile(path="s", mode=0o755, kind=GO_SOCKET),
        ],
        "d": [SentFile(path="f", mode=0o644, uid=7, size=len(DATA), mtime=3)],
    }
    return Gateway(folders)


def test_it_asks_once_for_each_directory(gateway):
    tree = RemoteTree(gateway, "r")
    assert tree.children("") == ["d", "l"]
    assert resolve(tree, "l") == "d/f"
    found = tree.lookup("d/f")
    assert (found.kind, found.mode, found.uid, found.mtime) == (Kind.REG, 0o644, 7, 3)
    assert tree.lookup("d/f/g") is None
    assert tree.lookup("x/y") is None
    assert gateway.asked == ["/", "d"]


def test_a_file_comes_in_pieces(gateway, monkeypatch):
    monkeypatch.setattr(remote, "PIECE", 1000)
    with RemoteTree(gateway, "r").open("d/f") as file:
        assert file.read() == DATA
    with pytest.raises(BuildError, match="not a regular file"):
        RemoteTree(gateway, "r").open("d")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "../d"])
def test_what_is_no_name_is_not_there(gateway, name):
    gateway.folders["/"] = [SentFile(path=name, mode=0o644)]
    tree = RemoteTree(gateway, "r")
    assert tree.children("") == []
    assert tree.lookup(name or "a") is None
