"""The pool keeps the order, holds its window and stops when anything fails."""

import random
import threading
import time

import pytest

from lazybuild.estargz import pool
from lazybuild.estargz.pool import Piece, Pool
from lazybuild.estargz.toc import TocEntry

SIZE = 1000


def piece(number):
    made = Piece(record=TocEntry(name=str(number), type="reg"), whole=True)
    made.add(b"%d" % number + bytes(SIZE))
    return made


def test_members_leave_in_order_and_within_the_window(monkeypatch):
    monkeypatch.setattr(pool, "_BATCH", 3 * SIZE)
    monkeypatch.setattr(pool, "_WINDOW", 10 * SIZE)
    seen, waiting, most = [], 0, 0

    def compress(data):
        time.sleep(random.random() / 500)
        return bytes(data).rstrip(b"\0")

    def sink(packed):
        nonlocal waiting
        waiting -= len(packed.pieces)
        seen.extend(packed.members)

    with Pool(compress, sink, 4) as made:
        for number in range(1, 300):
            waiting += 1
            made.put(piece(number))
            most = max(most, waiting)
    assert seen == [b"%d" % number for number in range(1, 300)]
    assert waiting == 0
    assert most <= 10 + 3 + 3


@pytest.mark.parametrize("threads", [1, 3])
def test_a_failing_compressor_is_the_callers_error(threads):
    def compress(data):
        raise MemoryError

    before = threading.active_count()
    with pytest.raises(MemoryError), Pool(compress, lambda packed: None, threads) as made:
        made.put(piece(1))
    assert threading.active_count() == before


def test_a_failing_sink_stops_the_threads(monkeypatch):
    monkeypatch.setattr(pool, "_BATCH", 1)
    before = threading.active_count()

    def sink(packed):
        raise OSError(28, "no space left")

    def fill():
        with Pool(bytes, sink, 3) as made:
            for number in range(100):
                made.put(piece(number))

    with pytest.raises(OSError, match="no space"):
        fill()
    assert threading.active_count() == before
