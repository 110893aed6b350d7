import pytest

from lazybuild.errors import HostError
from lazybuild.executor import idmap
from lazybuild.executor.idmap import IdRange


def test_lines_of_the_user_by_name_or_number():
    text = "root:1:2\nme:100000:65536\n\n# comment\n1000:300000:10\nmeme:5:5\n"
    assert idmap.parse(text, ("me", "1000")) == [(100000, 65536), (300000, 10)]


@pytest.mark.parametrize(
    "line",
    ["me", "me:", "me:1", "me:1:", "me:a:5", "me:1:0", "me:-1:5", "me:1:5:6", "me:4294967290:10",
     "me:٣:5", "me:99999999999:1", "me: 1:5"],
)  # fmt: skip
def test_lines_that_make_no_sense_are_skipped(line):
    assert idmap.parse(line, ("me",)) == []


def test_own_id_becomes_zero_and_ranges_follow():
    assert idmap.id_map(1000, [(100000, 65536), (300000, 10)]) == (
        IdRange(inside=0, outside=1000, count=1),
        IdRange(inside=1, outside=100000, count=65536),
        IdRange(inside=65537, outside=300000, count=10),
    )


@pytest.mark.parametrize("name", ["subuid", "subgid"])
def test_no_range_says_what_to_do(tmp_path, name):
    (tmp_path / name).write_text("somebody:1:2\n")
    with pytest.raises(HostError, match="has no range for") as caught:
        idmap.ranges_of(3999999, tmp_path / name)
    assert f"usermod --add-{name}s" in caught.value.hint
    with pytest.raises(HostError, match="has no range for"):
        idmap.ranges_of(3999999, tmp_path / "missing")


def test_a_uid_without_a_passwd_entry_has_its_number():
    assert idmap.owners(3999999) == ("3999999",)
    assert idmap.owners(0) == ("root", "0")
