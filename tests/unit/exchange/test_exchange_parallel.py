"""Several things at once, and no thread left behind."""

import os
import threading
import time

import pytest

from lazybuild.exchange.parallel import all_of


def test_values_come_in_order_and_threads_are_gone_for_the_kernel_too():
    before = len(os.listdir("/proc/self/task"))

    def task(number):
        time.sleep(0.02 * (5 - number))
        return number

    for _ in range(10):
        assert all_of([lambda n=n: task(n) for n in range(5)]) == [0, 1, 2, 3, 4]
        assert len(os.listdir("/proc/self/task")) == before


def test_they_run_at_the_same_time():
    gate = threading.Barrier(3, timeout=5)
    assert len(all_of([gate.wait] * 3)) == 3


def test_the_first_failure_in_order_is_raised_once_all_have_ended():
    ended = []

    def fail():
        raise ValueError("first")

    def late():
        time.sleep(0.1)
        ended.append(1)
        raise KeyError("second")

    with pytest.raises(ValueError, match="first"):
        all_of([fail, late])
    assert ended == [1]
    assert all_of([]) == []
