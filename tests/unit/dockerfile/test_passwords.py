import time

import pytest
from support.dockerfiles import compiled, names, vertices

from lazybuild.dockerfile.excerpt import excerpt, masked
from lazybuild.errors import Span


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ADD https://me:s3cret@host/x.git /", "ADD https://xxxxx@host/x.git /"),
        ("https://t0ken@host/a@b", "https://xxxxx@host/a@b"),
        ("ssh://git:s3cret@host/x HTTP://a:b@c", "ssh://git:xxxxx@host/x HTTP://xxxxx@c"),
        ("ssh://git@host/x git@host:x", "ssh://git@host/x git@host:x"),
        ("http://host:80/a:b@c me@example.org", "http://host:80/a:b@c me@example.org"),
    ],
)
def test_what_is_shown_of_a_url(text, expected):
    assert masked(text) == expected


def test_no_step_is_called_by_a_password():
    found = compiled(
        "FROM one\nADD https://me:s3cret@host/x.git /\nRUN curl https://me:s3cret@host/\n",
        contexts={"one": "https://me:s3cret@host/y.git"},
        context="https://me:s3cret@host/z.git",
    )
    assert not [name for name in names(found) if "s3cret" in name]
    assert not [vertex for vertex in vertices(found) if "s3cret" in vertex.options.command]
    assert "[internal] load git source https://xxxxx@host/y.git" in names(found)


def test_an_excerpt_has_none():
    text = excerpt("FROM x\nADD https://me:s3cret@host/x /\n", Span(path="f", line=2, end_line=2))
    assert "s3cret" not in text
    assert "ADD https://xxxxx@host/x /" in text


@pytest.mark.parametrize(
    "text", ["a" * 65_000, "http://" + "a" * 60_000, "a://b:" * 9_000, "a" * 30_000 + "://b"]
)
def test_no_text_takes_long(text):
    started = time.thread_time()
    masked(text)
    assert time.thread_time() - started < 0.5
