import json

import pytest
from support.tars import directory, file, symlink, tar

from lazybuild.errors import BuildError, UsageError
from lazybuild.llb.ops import SourceOp
from lazybuild.snapshots.hosttree import FileKey
from lazybuild.snapshots.tree import walk
from lazybuild.sources.archives import archive_tree, is_archive
from lazybuild.sources.local import LocalSources, PatternRules, StoredDigests
from lazybuild.store import Store


def op(name="context", **attrs):
    pairs = {f"local.{key}": json.dumps(value) for key, value in attrs.items()}
    return SourceOp(identifier=f"local://{name}", attrs=tuple(sorted(pairs.items())))


def listed(tree):
    return [path for path, _ in walk(tree) if path]


@pytest.fixture
def context(tmp_path):
    for name in ("a", "d/b", "d/c", "d/e/f", "z"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def test_all_of_a_directory(context):
    tree = LocalSources({"context": context}).tree(op())
    assert listed(tree) == ["a", "d", "d/b", "d/c", "d/e", "d/e/f", "z"]


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        (["d"], ["a", "z"]),
        (["d/*", "!d/c"], ["a", "d", "d/c", "z"]),
        (["**", "!d/e/f"], ["d", "d/e", "d/e/f"]),
        (["*", "!a"], ["a"]),
        (["**/f"], ["a", "d", "d/b", "d/c", "d/e", "z"]),
        (["!../../etc", "../a"], ["d", "d/b", "d/c", "d/e", "d/e/f", "z"]),
    ],
)
def test_ignore_rules(context, exclude, left):
    tree = LocalSources({"context": context}).tree(op(excludepatterns=exclude))
    assert listed(tree) == left


def test_include_patterns(context):
    tree = LocalSources({"context": context}).tree(op(includepattern=["d/e", "a"]))
    assert listed(tree) == ["a", "d", "d/e", "d/e/f"]


def test_one_tree_for_one_op(context):
    sources = LocalSources({"context": context})
    assert sources.tree(op()) is sources.tree(op())
    assert sources.tree(op()) is not sources.tree(op(excludepatterns=["a"]))


def test_names_and_patterns_that_are_wrong(context):
    with pytest.raises(UsageError, match="'other'"):
        LocalSources({"context": context}).tree(op("other"))
    with pytest.raises(BuildError, match="not a directory"):
        LocalSources({"context": context / "a"}).tree(op())
    with pytest.raises(BuildError, match="pattern"):
        LocalSources({"context": context}).tree(op(excludepatterns=["a["]))
    with pytest.raises(BuildError, match="list of strings"):
        LocalSources({"context": context}).tree(op(excludepatterns={"a": 1}))


def test_rules_agree_with_themselves_however_they_are_asked():
    rules = PatternRules(exclude=("a/**", "!a/b/c"))
    assert not rules.excludes("a/b/c")
    assert rules.excludes("a/b")
    assert rules.may_include_below("a/b")
    assert not rules.may_include_below("a/x")


def test_digests_are_kept_in_the_store(tmp_path):
    with Store(tmp_path / "store") as store:
        memory = StoredDigests(store.meta)
        key = FileKey(1, 2, 3, 4, 5)
        memory.save({key: "sha256:x"})
        assert memory.load([key]) == {key: "sha256:x"}
        assert memory.load([key._replace(ctime_ns=6)]) == {}


def test_an_archive_as_a_context(tmp_path):
    packed = tmp_path / "ctx.tar"
    packed.write_bytes(tar([directory("d", uid=5), file("d/f", b"1", uid=5), symlink("l", "/etc")]))
    tree = archive_tree(packed, now=0)
    assert listed(tree) == ["d", "d/f", "l"]
    assert tree.lookup("d/f").uid == 0
    with tree.open("d/f") as stream:
        assert stream.read() == b"1"
    assert tree.lookup("l/passwd") is None


def test_a_dockerfile_is_no_archive(tmp_path):
    (tmp_path / "f").write_text("FROM scratch\n")
    assert not is_archive(tmp_path / "f")
    with pytest.raises(BuildError, match="not a tar archive"):
        archive_tree(tmp_path / "f", now=0)
