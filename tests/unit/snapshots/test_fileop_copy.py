from dataclasses import replace

import pytest
from support.trees import NOW, MemTree, content, copy, names, run

from lazybuild.errors import BuildError
from lazybuild.estargz.entry import Kind
from lazybuild.llb.ops import Owner, User
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.snapshots.tree import Node

CONTEXT = {
    "a.txt": b"a",
    "b.txt": b"b",
    "c.md": b"c",
    "dir/x": b"x",
    "dir/sub/y": b"y",
    "dir/link": "->x",
    "tofile": "->a.txt",
    "todir": "->dir",
    "empty/": None,
}


@pytest.fixture
def context():
    return MemTree({path.rstrip("/"): value for path, value in CONTEXT.items()})


def only(items, name):
    return next(item.entry for item in items if item.entry.name == name)


def test_a_file_to_a_name(context):
    assert content(run(copy("/a.txt", "/opt/z"), source=context)) == {"opt/z": b"a"}


def test_a_file_into_a_directory_by_trailing_slash(context):
    items = run(copy("/a.txt", "/opt/"), source=context)
    assert names(items) == ["opt", "opt/a.txt"]
    assert only(items, "opt").mtime == NOW
    assert only(items, "opt").mode == 0o755


def test_a_file_into_a_directory_that_is_there(context):
    base = MemTree({"opt": Node(kind=Kind.DIR, mode=0o711, uid=5)})
    items = run(copy("/a.txt", "/opt"), source=context, base=base)
    assert content(items) == {"opt/a.txt": b"a"}
    assert (only(items, "opt").mode, only(items, "opt").uid) == (0o711, 5)


def test_the_contents_of_a_directory(context):
    items = run(copy("/dir", "/opt"), source=context)
    assert names(items) == ["opt", "opt/link", "opt/sub", "opt/sub/y", "opt/x"]
    assert only(items, "opt/link").link == "x"


def test_the_directory_itself_when_contents_are_not_asked_for(context):
    base = MemTree({"opt": None})
    items = run(copy("/dir", "/opt", dir_copy_contents=False), source=context, base=base)
    assert names(items) == ["opt", "opt/dir", "opt/dir/link", "opt/dir/sub", "opt/dir/sub/y",
                            "opt/dir/x"]  # fmt: skip


def test_a_link_at_the_top_is_followed(context):
    assert content(run(copy("/tofile", "/t"), source=context)) == {"t": b"a"}
    assert "d/x" in content(run(copy("/todir", "/d/"), source=context))


def test_a_followed_file_keeps_the_name_of_the_link(context):
    assert content(run(copy("/tofile", "/d/"), source=context)) == {"d/tofile": b"a"}


def test_wildcards_match_a_level_at_a_time(context):
    assert set(content(run(copy("/*.txt", "/d/"), source=context))) == {"d/a.txt", "d/b.txt"}
    assert set(content(run(copy("/d*/s*", "/d/"), source=context))) == {"d/y"}
    assert set(content(run(copy("/[ab].t?t", "/d/"), source=context))) == {"d/a.txt", "d/b.txt"}
    assert run(copy("/*.nothing", "/d/"), source=context) == []


def test_a_wildcard_without_match_can_be_an_error(context):
    with pytest.raises(BuildError, match="not found"):
        run(copy("/*.nope", "/d/", allow_empty_wildcard=False), source=context)


def test_a_missing_literal_source_is_named(context):
    with pytest.raises(BuildError, match='"/missing": not found'):
        run(copy("/missing", "/d/"), source=context)


def test_dots_cannot_leave_the_context(context):
    assert content(run(copy("../../a.txt", "/d/"), source=context)) == {"d/a.txt": b"a"}
    with pytest.raises(BuildError, match="not found"):
        run(copy("/../etc/passwd", "/d/"), source=context)


def test_a_file_does_not_replace_a_directory(context):
    base = MemTree({"opt/a.txt": None})
    with pytest.raises(BuildError, match=r"cannot replace directory /opt/a\.txt"):
        run(copy("/a.txt", "/opt/"), source=context, base=base)


def test_a_directory_does_not_replace_a_file(context):
    base = MemTree({"opt/sub": b"file"})
    with pytest.raises(BuildError, match="non-directory: /opt/sub"):
        run(copy("/dir", "/opt"), source=context, base=base)
    with pytest.raises(BuildError, match="not a directory"):
        run(copy("/dir", "/opt/sub/"), source=context, base=base)


def test_always_replace_replaces(context):
    base = MemTree({"opt/sub": b"file", "opt/x/deep": b"1"})
    items = run(copy("/dir", "/opt", always_replace=True), source=context, base=base)
    assert content(items)["opt/sub/y"] == b"y"
    assert content(items)["opt/x"] == b"x"
    assert "opt/x/deep" not in names(items)


def test_a_link_in_the_destination_is_resolved_inside(context):
    base = MemTree({"a": "->/", "up": "->../../..", "etc": None})
    assert "etc/z" in content(run(copy("/a.txt", "/a/etc/z"), source=context, base=base))
    assert "etc/z" in content(run(copy("/a.txt", "/up/etc/z"), source=context, base=base))


def test_a_link_that_is_the_destination_is_followed(context):
    base = MemTree({"real": None, "alias": "->real"})
    assert names(run(copy("/dir/x", "/alias/"), source=context, base=base)) == ["real", "real/x"]
    file = MemTree({"target": b"old", "alias": "->target"})
    assert names(run(copy("/a.txt", "/alias"), source=context, base=file)) == ["target"]


def test_a_file_replaces_a_link_inside_the_destination(context):
    base = MemTree({"opt/x": "->/etc/passwd", "etc/passwd": b"root"})
    items = run(copy("/dir", "/opt"), source=context, base=base)
    assert only(items, "opt/x").kind is Kind.REG
    assert "etc/passwd" not in names(items)


def test_links_in_a_circle_end(context):
    base = MemTree({"a": "->b", "b": "->a"})
    with pytest.raises(BuildError, match="too many levels"):
        run(copy("/a.txt", "/a/x"), source=context, base=base)


def test_an_existing_directory_keeps_its_metadata_and_inner_ones_take_the_source_s():
    source = MemTree({"d": Node(kind=Kind.DIR, mode=0o700), "d/s/f": b"1"})
    source.nodes["d/s"] = Node(kind=Kind.DIR, mode=0o701)
    base = MemTree({"o": Node(kind=Kind.DIR, mode=0o750)})
    base.nodes["o/s"] = Node(kind=Kind.DIR, mode=0o777)
    items = run(copy("/d", "/o"), source=source, base=base)
    assert (only(items, "o").mode, only(items, "o/s").mode) == (0o750, 0o701)


def test_chmod_octal_and_symbolic_leave_links_alone(context):
    items = run(copy("/dir", "/o", mode=0o4711), source=context)
    assert (only(items, "o/x").mode, only(items, "o/link").mode) == (0o4711, 0o777)
    assert only(items, "o/sub").mode == 0o4711
    items = run(copy("/dir", "/o", mode_str="u=rwX,go="), source=context)
    assert (only(items, "o/x").mode, only(items, "o/sub").mode) == (0o600, 0o700)


def test_chown_by_number_reaches_made_directories(context):
    owner = Owner(user=User(id=7), group=User(id=8))
    items = run(copy("/a.txt", "/n/m/", owner=owner), source=context)
    assert {(e.entry.uid, e.entry.gid) for e in items} == {(7, 8)}
    items = run(copy("/a.txt", "/n/", owner=Owner(user=User(id=7))), source=context)
    assert {(e.entry.uid, e.entry.gid) for e in items} == {(7, 7)}


def test_chown_by_name_is_looked_up_in_the_base(context):
    passwd = b"root:x:0:0::/:/bin/sh\nbad line\nme:x:10:20::/:/bin/sh\n"
    base = MemTree({"etc/passwd": passwd, "etc/group": b"g:x:30:\n", "o": None})
    owner = Owner(user=User(name="me", input=1))
    entry = only(run(copy("/a.txt", "/o/", owner=owner), source=context, base=base), "o/a.txt")
    assert (entry.uid, entry.gid) == (10, 20)
    owner = Owner(user=User(name="me", input=1), group=User(name="g", input=1))
    entry = only(run(copy("/a.txt", "/o/", owner=owner), source=context, base=base), "o/a.txt")
    assert (entry.uid, entry.gid) == (10, 30)
    owner = Owner(user=User(name="you", input=1))
    with pytest.raises(BuildError, match="unable to find user you"):
        run(copy("/a.txt", "/o/", owner=owner), source=context, base=base)


def test_passwd_files_that_are_no_such_thing_are_refused(context):
    owner = Owner(user=User(name="me", input=1))
    for hostile in (
        Node(kind=Kind.FIFO, mode=0o644),
        Node(kind=Kind.REG, mode=0o644, size=11 << 20),
        Node(kind=Kind.CHAR, mode=0o644, major=1, minor=5),
    ):
        base = MemTree({"etc/passwd": hostile})
        with pytest.raises(BuildError, match="regular file of at most"):
            run(copy("/a.txt", "/o/", owner=owner), source=context, base=base)


def test_owners_of_the_source_are_kept_without_chown():
    source = MemTree({"f": Node(kind=Kind.REG, mode=0o600, uid=3, gid=4)})
    entry = only(run(copy("/f", "/g"), source=source), "g")
    assert (entry.uid, entry.gid) == (3, 4)


def test_exclude_is_relative_to_the_copied_root(context):
    items = run(copy("/dir", "/o", exclude_patterns=("x",)), source=context)
    assert set(content(items)) == {"o/sub/y"}
    items = run(copy("/dir", "/o", exclude_patterns=("y",)), source=context)
    assert set(content(items)) == {"o/sub/y", "o/x"}
    items = run(copy("/dir", "/o", exclude_patterns=("**/y",)), source=context)
    assert set(content(items)) == {"o/x"}


def test_an_exception_brings_back_what_is_below_an_excluded_directory(context):
    items = run(copy("/", "/o", exclude_patterns=("dir", "!dir/sub/y")), source=context)
    assert "o/dir/sub/y" in names(items)
    assert "o/dir/x" not in names(items)
    assert "o/dir" in names(items)


def test_include_patterns_make_only_the_directories_on_the_way(context):
    items = run(copy("/", "/o/", include_patterns=("dir/sub/y",)), source=context)
    assert names(items) == ["o", "o/dir", "o/dir/sub", "o/dir/sub/y"]
    items = run(copy("/", "/o/", include_patterns=("**/y", "a.*")), source=context)
    assert names(items) == ["o", "o/a.txt", "o/dir", "o/dir/sub", "o/dir/sub/y"]


def test_required_paths_of_parents_must_exist(context):
    with pytest.raises(BuildError, match="no/such"):
        run(copy("/", "/o/", include_patterns=("no/such",), required_paths=("no/such",)),
            source=context)  # fmt: skip


def test_hard_links_stay_hard_links():
    one = (b"1", Node(kind=Kind.REG, mode=0o644, size=1, identity="i"))
    source = MemTree({"d/a": one, "d/b": one, "d/c": b"1"})
    items = run(copy("/d", "/o"), source=source)
    assert [(e.entry.name, e.entry.kind, e.entry.link) for e in items[1:]] == [
        ("o/a", Kind.REG, ""),
        ("o/b", Kind.HARDLINK, "o/a"),
        ("o/c", Kind.REG, ""),
    ]


def test_xattrs_devices_and_fifos_are_kept():
    caps = {"security.capability": b"\1" * 20}
    source = MemTree(
        {
            "f": Node(kind=Kind.REG, mode=0o755, xattrs=caps),
            "p": Node(kind=Kind.FIFO, mode=0o600),
            "n": Node(kind=Kind.CHAR, mode=0o666, major=1, minor=3),
        }
    )
    items = run(copy("/", "/"), source=source)
    assert only(items, "f").xattrs == caps
    assert only(items, "p").kind is Kind.FIFO
    assert (only(items, "n").major, only(items, "n").minor) == (1, 3)


def test_times_are_the_source_s_or_the_one_asked_for():
    source = MemTree({"f": replace(Node(kind=Kind.REG, mode=0o644), mtime=5_000_000_000)})
    assert only(run(copy("/f", "/o/"), source=source), "o/f").mtime == 5_000_000_000
    items = run(copy("/f", "/o/", timestamp=7_000_000_000), source=source)
    assert {item.entry.mtime for item in items} == {7_000_000_000}


def test_a_name_that_would_read_as_a_whiteout_is_refused():
    with pytest.raises(BuildError, match=r"\.wh\."):
        run(copy("/", "/"), source=MemTree({".wh.passwd": b""}))


def test_a_context_of_the_host(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_text("one")
    (tmp_path / "out").symlink_to("/etc/passwd")
    items = run(copy("/", "/o"), source=HostTree(tmp_path))
    assert content(items) == {"o/d/f": b"one"}
    assert only(items, "o/out").link == "/etc/passwd"
    assert {(item.entry.uid, item.entry.gid) for item in items} == {(0, 0)}
    with pytest.raises(BuildError, match="not found"):
        run(copy("/out", "/o"), source=HostTree(tmp_path))
