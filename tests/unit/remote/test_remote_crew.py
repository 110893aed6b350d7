"""Which builder takes a build: the one that is through soonest, of those that are there."""

from lazybuild.errors import HostError
from lazybuild.remote.crew import Crew
from lazybuild.request import Builder

ONE, TWO = Builder(address="unix:///one"), Builder(address="unix:///two")


def quiet():
    return Crew([ONE, TWO], lambda event: None)


def work(*runs):
    """Steps named by a letter and a number: `a3` is a1, a2 and a3."""
    return frozenset(f"{run[0]}{n}" for run in runs for n in range(1, int(run[1:]) + 1))


def test_builds_go_where_there_is_least_to_do():
    crew = quiet()
    assert [crew.take(work(name)) for name in ("a2", "b2", "c2")] == [ONE, TWO, ONE]
    crew.free(ONE, work("a2"))
    crew.free(ONE, work("c2"))
    assert crew.take(work("d2")) == ONE


def test_the_largest_is_placed_first():
    works = [work("a1"), work("b1"), work("c1"), work("d3")]
    assert quiet().spread(works) == [TWO, TWO, TWO, ONE]


def test_what_has_much_in_common_stays_together():
    works = [work("s9", "a1"), work("s9", "b1"), work("t9", "c1"), work("t9", "d1")]
    assert quiet().spread(works) == [ONE, ONE, TWO, TWO]


def test_a_little_in_common_is_done_twice():
    works = [work("s1", "a9"), work("s1", "b9")]
    assert quiet().spread(works) == [ONE, TWO]


def test_what_is_a_part_of_another_goes_with_it():
    works = [work("s5"), work("t9"), work("s5", "a6"), work("t9", "b1")]
    assert quiet().spread(works) == [ONE, TWO, ONE, TWO]


def test_a_builder_that_is_away_is_named_once_and_gets_nothing_more():
    said = []
    crew = Crew([ONE, TWO], said.append)
    crew.free(crew.take(work("a1")), work("a1"))
    for _ in range(2):
        assert crew.lost(ONE, HostError("unix:///one: Connection refused"))
    (warning,) = said
    assert "unix:///one: Connection refused: its builds go to the other" in warning.message
    assert [crew.take(work(name)) for name in ("a1", "b1", "c1")] == [TWO] * 3
    assert not crew.lost(TWO, HostError("unix:///two: gone"))
