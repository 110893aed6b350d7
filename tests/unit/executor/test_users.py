import os

import pytest

from lazybuild.errors import BuildError
from lazybuild.executor.users import Identity, find, look_up

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
app:x:1000:1001:App:/srv/app:/bin/sh
1234:x:77:78:a name of digits:/n:/bin/sh
nohome:x:5:5::
short:x:9
bad:x:x:y::/:/
big:x:99999999999:0::/:/
"""
GROUP = """\
root:x:0:
wheel:x:10:root,app
app:x:1001:
video:x:44:app,other
broken:x:
"""


def identity(uid, gid, *groups, home="/"):
    return Identity(uid=uid, gid=gid, groups=groups, home=home)


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", identity(0, 0, 0, 10, home="/root")),
        ("0", identity(0, 0, 0, 10, home="/root")),
        ("app", identity(1000, 1001, 1001, 10, 44, home="/srv/app")),
        ("1000", identity(1000, 1001, 1001, 10, 44, home="/srv/app")),
        ("app:video", identity(1000, 44, 44, home="/srv/app")),
        ("app:", identity(1000, 1001, 1001, 10, 44, home="/srv/app")),
        (":video", identity(0, 44, 44, home="/root")),
        ("1234", identity(77, 78, 78, home="/n")),
        ("5555", identity(5555, 0, 0)),
        ("5555:44", identity(5555, 44, 44)),
        ("5555:4444", identity(5555, 4444, 4444)),
        ("2147483647", identity(2147483647, 0, 0)),
    ],
)
def test_forms_of_user(user, expected):
    assert find(user, PASSWD, GROUP) == expected


@pytest.mark.parametrize(
    "user", ["ghost", "bad", "big", "short", "app:ghost", "-1", "+5", "٣", "0x0"]
)
def test_names_that_are_not_there(user):
    with pytest.raises(BuildError, match="unable to find"):
        find(user, PASSWD, GROUP)


@pytest.mark.parametrize("user", ["2147483648", "4294967295", "0:4294967296", "9" * 5000])
def test_numbers_that_cannot_be(user):
    with pytest.raises(BuildError, match="out of range"):
        find(user, PASSWD, GROUP)


def test_an_image_without_accounts_still_has_root(tmp_path):
    assert look_up(tmp_path, "") == identity(0, 0, 0)


def test_links_are_followed_inside_only(tmp_path):
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "passwd").write_text("evil:x:1:1::/:/\n")
    os.symlink("../../passwd", tmp_path / "root/etc/passwd")
    with pytest.raises(BuildError, match="unable to find user evil"):
        look_up(tmp_path / "root", "evil")
    (tmp_path / "root/passwd").write_text("inner:x:7:8::/h:/\n")
    assert look_up(tmp_path / "root", "inner") == identity(7, 8, 8, home="/h")


def test_a_fifo_does_not_block_and_a_huge_file_is_refused(tmp_path):
    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc/passwd")
    with pytest.raises(BuildError, match="not a regular file"):
        look_up(tmp_path, "app")
    os.unlink(tmp_path / "etc/passwd")
    with open(tmp_path / "etc/passwd", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BuildError, match="larger than 10 MiB"):
        look_up(tmp_path, "app")
