"""The small engines: waiting, wording, proxies, dialling."""

import socket
import time

import pytest

from lazybuild.errors import RegistryError
from lazybuild.registry import dial
from lazybuild.registry.complaints import retry_after
from lazybuild.registry.proxies import choose_proxy
from lazybuild.registry.redact import scrub, shown
from lazybuild.registry.retry import Attempts, Clock, Kind, Policy, Trouble
from lazybuild.registry.transport import _Speed


class Recorded(Clock):
    """Counts the seconds that would have been waited."""

    def __init__(self, seconds=None):
        super().__init__(seconds)
        self.waits: list[float] = []

    def wait(self, seconds):
        self.waits.append(seconds)


def attempts(clock, **policy) -> Attempts:
    return Attempts(
        subject="GET host/x", host="host", policy=Policy(**policy), clock=clock, note=lambda _: None
    )


def fail(one: Attempts, kind: Kind, *, pause: float = 0.0, **more) -> None:
    while True:
        time.sleep(pause)
        one.failed(Trouble(kind, "it failed", **more))


def test_five_retries_from_one_to_sixteen_seconds_with_jitter():
    clock = Recorded()
    with pytest.raises(RegistryError, match="6 attempts"):
        fail(attempts(clock), Kind.SERVER)
    assert len(clock.waits) == 5
    for wait, most in zip(clock.waits, (1, 2, 4, 8, 16), strict=True):
        assert most / 2 <= wait <= most


def test_waits_differ_between_clients():
    seen = set()
    for _ in range(5):
        clock = Recorded()
        with pytest.raises(RegistryError):
            fail(attempts(clock), Kind.SERVER)
        seen.add(tuple(clock.waits))
    assert len(seen) == 5


def test_retry_after_is_capped():
    clock = Recorded()
    with pytest.raises(RegistryError):
        fail(attempts(clock), Kind.SERVER, retry_after=1e9)
    assert clock.waits == [60.0] * 5


@pytest.mark.parametrize("kind", [Kind.CERTIFICATE, Kind.NOT_TLS, Kind.REFUSED, Kind.QUOTA])
def test_what_waiting_does_not_mend_is_not_waited_for(kind):
    clock = Recorded()
    with pytest.raises(RegistryError):
        fail(attempts(clock), kind)
    assert clock.waits == []


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_ends_with_the_subject_first(kind):
    with pytest.raises(RegistryError, match="GET host/x: it failed"):
        fail(attempts(Recorded()), kind)


def test_patience_goes_on_after_the_count():
    clock = Recorded()
    one = attempts(clock, patience=0.05)
    with pytest.raises(RegistryError):
        fail(one, Kind.UNREACHABLE, pause=0.01)
    assert len(clock.waits) > 3


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5.0), (" 0 ", 0.0), ("", None), ("-1", None), ("1.5", None), ("x", None)],
)
def test_retry_after_in_seconds(text, seconds):
    assert retry_after(text) == seconds


def test_retry_after_as_a_date():
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert (retry_after("Wed, 21 Oct 2099 07:28:00 GMT") or 0) > 1e9


def test_urls_are_shown_without_what_opens_doors():
    url = "https://user:pw@host:5/p/a?digest=sha256:ab&X-Amz-Signature=abc&sig=&token=t#f"
    assert shown(url) == "https://host:5/p/a?digest=sha256:ab&X-Amz-Signature=…&sig=…&token=…"
    assert shown("http://[") == "(a malformed URL)"


def test_texts_from_outside_become_one_safe_line():
    text = scrub("a\n\x1b[31mb Authorization: Basic dXNlcjpwdw== password=hunter2 " + "x" * 1000)
    assert "\n" not in text
    assert "\x1b" not in text
    assert "dXNlcjpwdw" not in text
    assert "hunter2" not in text
    assert len(text) <= 301


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://r.example/v2/", "http://secure:1"),
        ("http://r.example/v2/", "http://plain:2"),
        ("http://127.0.0.1:5000/v2/", ""),
        ("https://inner.corp/v2/", ""),
        ("https://deep.inner.corp/v2/", ""),
        ("https://notinner.corp/v2/", "http://secure:1"),
        ("https://exact.example:8443/v2/", ""),
    ],
)
def test_proxies_by_the_usual_variables(url, proxy):
    environ = {
        "https_proxy": "http://secure:1",
        "HTTP_PROXY": "plain:2",
        "NO_PROXY": ".inner.corp, exact.example:8443",
    }
    assert choose_proxy(environ)(url) == proxy


def black_hole():
    """A listener that answers no more: its queue is full."""
    server = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(server.getsockname())
        waiting.append(one)
    return server, waiting


def test_a_dead_address_does_not_hold_up_a_living_one(monkeypatch):
    hole, waiting = black_hole()
    with socket.create_server(("127.0.0.1", 0)) as alive:
        entries = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", place.getsockname())
            for place in (hole, alive)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: entries)
        began = time.monotonic()
        with dial.dial("host", 1, 5.0) as connection:
            assert connection.getpeername() == alive.getsockname()
        assert 0.2 < time.monotonic() - began < 2
    for one in (hole, *waiting):
        one.close()


def test_dialling_ends_in_time_and_in_the_systems_words(monkeypatch):
    hole, waiting = black_hole()
    with pytest.raises(TimeoutError):
        dial.dial(*hole.getsockname(), 0.3)
    for one in (hole, *waiting):
        one.close()
    with pytest.raises(ConnectionRefusedError):
        dial.dial("127.0.0.1", 1, 1.0)


def test_families_take_turns():
    six, four = socket.AF_INET6, socket.AF_INET
    given = [(six, (1,)), (six, (2,)), (six, (3,)), (four, (4,))]
    assert [a[1][0] for a in dial._alternating(given)] == [1, 4, 2, 3]


def test_a_trickle_is_a_stall():
    speed = _Speed(0.05)
    speed.check(10)
    time.sleep(0.06)
    with pytest.raises(Trouble, match="only 20 bytes"):
        speed.check(10)


def test_a_slow_stream_is_none():
    speed = _Speed(0.05)
    for _ in range(3):
        time.sleep(0.03)
        speed.check(2000)
