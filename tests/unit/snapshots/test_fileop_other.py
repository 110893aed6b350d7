import pytest
from support.trees import NOW, MemTree, content, copy, names, run

from lazybuild.errors import BuildError
from lazybuild.estargz.entry import Kind
from lazybuild.llb.ops import (
    FileAction,
    FileOp,
    MkDirAction,
    MkFileAction,
    Owner,
    RmAction,
    SymlinkAction,
    User,
)
from lazybuild.snapshots.fileop import apply


def test_mkdir_makes_parents_and_keeps_what_is_there():
    base = MemTree({"a": None})
    items = run(MkDirAction(path="/a/b/c", mode=0o755, make_parents=True), base=base)
    assert names(items) == ["a", "a/b", "a/b/c"]
    assert run(MkDirAction(path="/a", mode=0o700, make_parents=True), base=base) == []
    assert items[2].entry.mtime == NOW


def test_mkdir_through_a_link_and_over_a_file():
    base = MemTree({"l": "->/real", "f": b""})
    made = run(MkDirAction(path="/l/x", mode=0o755, make_parents=True), base=base)
    assert names(made) == ["real", "real/x"]
    with pytest.raises(BuildError, match="not a directory"):
        run(MkDirAction(path="/f/x", mode=0o755, make_parents=True), base=base)


def test_mkdir_belongs_to_whom_it_should():
    owner = Owner(user=User(id=9))
    (item,) = run(MkDirAction(path="/w", mode=0o755, make_parents=True, owner=owner))
    assert (item.entry.uid, item.entry.gid) == (9, 9)


def test_mkfile_and_a_later_action_that_replaces_it():
    items = run(
        MkFileAction(path="/f", mode=0o644, data=b"one"),
        MkFileAction(path="/f", mode=0o600, data=b"two!"),
    )
    assert content(items) == {"f": b"two!"}
    assert items[0].entry.mode == 0o600


def test_rm_makes_whiteouts_only_for_what_the_base_has():
    base = MemTree({"d/a": b"", "d/b": b"", "e/f": b""})
    assert names(run(RmAction(path="/d/a"), base=base)) == ["d", "d/.wh.a"]
    assert names(run(RmAction(path="/d"), base=base)) == [".wh.d"]
    items = run(MkFileAction(path="/new", mode=0o644, data=b""), RmAction(path="/new"), base=base)
    assert items == []


def test_rm_of_nothing():
    with pytest.raises(BuildError, match="not found"):
        run(RmAction(path="/x"))
    assert run(RmAction(path="/x", allow_not_found=True)) == []
    with pytest.raises(BuildError, match="root"):
        run(RmAction(path="/../.."))


def test_rm_takes_the_link_and_not_what_it_leads_to():
    base = MemTree({"l": "->/t", "t": b""})
    assert names(run(RmAction(path="/l"), base=base)) == [".wh.l"]


def test_rm_by_wildcard():
    base = MemTree({"a1": b"", "a2": b"", "b": b""})
    assert names(run(RmAction(path="/a*", allow_wildcard=True), base=base)) == [".wh.a1", ".wh.a2"]


def test_a_directory_made_anew_hides_the_old_one():
    base = MemTree({"d/old": b""})
    items = run(RmAction(path="/d"), MkDirAction(path="/d", mode=0o755), base=base)
    assert names(items) == ["d", "d/.wh..wh..opq"]


def test_symlink():
    (item,) = run(SymlinkAction(old_path="/a/../b", new_path="/l"))
    assert (item.entry.kind, item.entry.link) == (Kind.SYMLINK, "/a/../b")


def test_actions_branch_without_touching_one_another():
    op = FileOp(
        actions=(
            FileAction(action=MkFileAction(path="/a", mode=0o644, data=b"a"), input=0),
            FileAction(action=MkFileAction(path="/b", mode=0o644, data=b"b"), input=1, output=0),
            FileAction(action=MkFileAction(path="/c", mode=0o644, data=b"c"), input=1, output=1),
        )
    )
    found = apply(op, [MemTree({})])
    assert names(found[0].items()) == ["a", "b"]
    assert names(found[1].items()) == ["a", "c"]
    assert found[0].base == 0


def test_an_action_can_copy_from_an_earlier_one():
    op = FileOp(
        actions=(
            FileAction(action=MkFileAction(path="/a", mode=0o644, data=b"a")),
            FileAction(action=copy("/a", "/z"), secondary_input=0, output=0),
        )
    )
    found = apply(op, [])
    assert content(found[0].items()) == {"z": b"a"}


def test_a_reference_to_a_later_action_is_refused():
    op = FileOp(actions=(FileAction(action=copy("/a", "/z"), secondary_input=3, output=0),))
    with pytest.raises(BuildError, match="refers to 3"):
        apply(op, [])
