"""What a verb that is not a build tells its user, and what it keeps to itself."""

import threading

from lazybuild.cli.open_space import Teller, open_space
from lazybuild.cli.stopping import _events
from lazybuild.events import Noted, Transfer, Warned


def moved(seconds, current, blob="sha256:" + "a" * 64):
    return Transfer(vertex="pushing x", id=blob, current=current, total=10**8, time=seconds)


def test_warnings_are_always_told_notes_only_when_wanted(capsys):
    for verbose in (False, True):
        tell = Teller(verbose=verbose)
        tell(Warned(message="mind"))
        tell(Noted(message="tier"))
    assert capsys.readouterr().err == "WARNING: mind\nWARNING: mind\ntier\n"


def test_transfers_are_told_every_few_seconds(capsys):
    tell = Teller(verbose=True)
    for tenth in range(121):
        tell(moved(tenth / 10, tenth * 10**5))
        tell(moved(tenth / 10, tenth * 10**5, "sha256:" + "b" * 64))
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "sha256:aaaa" in line] == [
        "pushing x  sha256:aaaaaaaaaaaa 5.0MB / 100.0MB",
        "pushing x  sha256:aaaaaaaaaaaa 10.0MB / 100.0MB",
    ]
    assert len(lines) == 4


def test_a_quiet_verb_tells_of_no_transfer(capsys):
    tell = Teller(verbose=False)
    tell(moved(0, 0))
    tell(moved(60, 1))
    assert capsys.readouterr().err == ""


def test_signals_reach_the_space_only_while_it_is_open(tmp_path):
    with open_space(str(tmp_path / "store")) as space:
        assert isinstance(space.stop, threading.Event)
        assert _events == [space.stop]
    assert _events == []
