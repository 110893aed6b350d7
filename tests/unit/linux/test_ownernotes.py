import pytest

from lazybuild.linux import ownernotes


@pytest.mark.parametrize(
    "value", [b"", b"1", b"1:", b":1", b"-1:2", b"1:2:3", b"4294967295:0", b"99999999999:1", None]
)
def test_a_note_that_no_one_of_us_wrote_counts_for_nothing(value):
    assert ownernotes.parse(value) is None


@pytest.mark.parametrize("owner", [(0, 0), (5, 4294967294)])
def test_an_owner_comes_back(owner):
    assert ownernotes.parse(ownernotes.encode(owner)) == owner


def test_links_are_named_one_by_one():
    links = {b"a": (1, 2), b"b\n:/": (3, 4)}
    assert ownernotes.parse_links(ownernotes.encode_links(links)) == links
    assert ownernotes.owner_of_link(links, b"a") == (1, 2)
    assert ownernotes.owner_of_link(links, b"c") == (0, 0)


def test_many_links_fit_into_a_little_room_when_most_have_one_owner():
    links = {b"%0200d" % number: (7, 8) for number in range(1000)} | {b"odd": (9, 9)}
    text = ownernotes.encode_links(links)
    assert len(text) <= ownernotes.ROOM
    found = ownernotes.parse_links(text)
    assert {ownernotes.owner_of_link(found, name) for name in links if name != b"odd"} == {(7, 8)}
    assert ownernotes.owner_of_link(found, b"odd") == (9, 9)
    varied = {b"%0200d" % number: (number, 8) for number in range(1000)}
    assert len(ownernotes.encode_links(varied)) <= ownernotes.ROOM


@pytest.mark.parametrize("value", [None, b"", b"/x", b"1:2", b"x:y/z", b"\0\0/\0"])
def test_links_that_no_one_of_us_wrote_count_for_nothing(value):
    assert ownernotes.parse_links(value) == {}
