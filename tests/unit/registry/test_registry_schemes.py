"""Which scheme a host speaks, when several connections find out at the same time."""

from lazybuild.registry.hosts import Endpoint
from lazybuild.registry.session import _Schemes

PLACE = Endpoint(
    host="localhost:1", repository="x", registry="localhost:1", schemes=("http", "https")
)


def test_a_scheme_that_was_answered_is_not_lost_to_the_trial_of_another_thread():
    schemes = _Schemes()
    assert schemes.advance(PLACE)  # one connection was reset and tries the next scheme
    schemes.confirm(PLACE, "http")  # meanwhile another one was answered
    assert schemes.current(PLACE) == "http"
    assert not schemes.advance(PLACE)


def test_each_scheme_is_tried_once():
    schemes = _Schemes()
    assert schemes.advance(PLACE)
    assert schemes.current(PLACE) == "https"
    assert not schemes.advance(PLACE)
