import pytest

from lazybuild.errors import BuildError
from lazybuild.snapshots.hosttree import HostTree

pytestmark = pytest.mark.rootless


def test_what_may_not_be_read_is_an_error(tmp_path):
    (tmp_path / "d").mkdir(mode=0)
    (tmp_path / "f").touch(mode=0)
    tree = HostTree(tmp_path)
    with pytest.raises(BuildError, match="d: Permission denied"):
        tree.children("d")
    with pytest.raises(BuildError, match="f: Permission denied"):
        tree.open("f")
