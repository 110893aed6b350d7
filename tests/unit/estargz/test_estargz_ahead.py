"""Reading ahead: the same bytes, errors in their place, and no thread left over."""

import hashlib
import io
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazybuild.estargz import ahead
from lazybuild.estargz.ahead import DEPTH, PIECE, ReadAhead

DATA = bytes(range(256)) * 9000


class Failing(io.BytesIO):
    def read(self, size=-1):
        data = super().read(size)
        if not data:
            raise OSError(5, "broken")
        return data


class Endless(io.RawIOBase):
    def __init__(self):
        self.reads = 0

    def read(self, size=-1):
        self.reads += 1
        return bytes(size)


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name == "read-ahead"]


@given(st.lists(st.integers(-1, 2 * PIECE), max_size=12), st.integers(0, len(DATA)))
@settings(deadline=None, max_examples=40)
def test_any_reads_give_the_bytes_in_order(sizes, length):
    plain, seen = io.BytesIO(DATA[:length]), io.BytesIO(DATA[:length])
    with ReadAhead(plain) as stream:
        for size in sizes:
            assert stream.read(size) == seen.read(size)
        stream.drain()
        assert stream.read(1) == stream.read() == b""
        assert stream.count == length
        assert stream.digest == "sha256:" + hashlib.sha256(DATA[:length]).hexdigest()
    assert threads() == []


def test_an_error_comes_behind_the_bytes_before_it_and_stays():
    with ReadAhead(Failing(DATA)) as stream:
        assert stream.read(len(DATA)) == DATA
        for _ in range(2):
            with pytest.raises(OSError, match="broken"):
                stream.read(1)
        with pytest.raises(OSError, match="broken"):
            stream.drain()


def test_it_reads_no_further_than_its_depth_and_ends_when_closed(monkeypatch):
    monkeypatch.setattr(ahead, "PIECE", 1000)
    endless = Endless()
    with ReadAhead(endless) as stream:
        stream.read(500)
        for _ in range(200):
            if endless.reads == DEPTH + 2:
                break
            stream._thread.join(0.01)
        stream._thread.join(0.05)
        assert endless.reads == DEPTH + 2
    assert threads() == []
