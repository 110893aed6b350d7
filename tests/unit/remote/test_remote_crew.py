"""Which builder takes a build: the one with least to do, of those that are there."""

from lazybuild.errors import HostError
from lazybuild.remote.crew import Crew
from lazybuild.request import Builder

ONE, TWO = Builder(address="unix:///one"), Builder(address="unix:///two")


def test_builds_go_where_there_is_least_to_do():
    crew = Crew([ONE, TWO], lambda event: None)
    assert [crew.take(name) for name in "abc"] == [ONE, TWO, ONE]
    crew.free(ONE)
    crew.free(ONE)
    assert crew.take("d") == ONE


def test_a_group_stays_together():
    crew = Crew([ONE, TWO], lambda event: None)
    assert [crew.take("a"), crew.take("a"), crew.take("b")] == [ONE, ONE, TWO]


def test_a_builder_that_is_away_is_named_once_and_gets_nothing_more():
    said = []
    crew = Crew([ONE, TWO], said.append)
    crew.free(crew.take("a"))
    for _ in range(2):
        assert crew.lost(ONE, HostError("unix:///one: Connection refused"))
    (warning,) = said
    assert "unix:///one: Connection refused: its builds go to the other" in warning.message
    assert [crew.take(name) for name in "abc"] == [TWO] * 3
    assert not crew.lost(TWO, HostError("unix:///two: gone"))
