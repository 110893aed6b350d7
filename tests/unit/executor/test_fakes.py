"""What the one that answers for the kernel keeps of a step, which has an end."""

import os
import resource
import struct
from collections import deque

import pytest

from lazybuild.executor.sandbox.calls import REQUEST, REQUEST_SIZE, Call
from lazybuild.executor.sandbox.fakes import FIRST_TAG, LOCKS, Fakes
from lazybuild.executor.sandbox.identity import MAX_GROUPS, starting


class Alone(Fakes):
    """Without a listener: no call of this process waits."""

    def _still_waits(self, call):
        del call


@pytest.fixture
def fakes():
    before = resource.prlimit(0, LOCKS)
    yield Alone(-1, -1, {}, [0])
    resource.prlimit(0, LOCKS, before)


@pytest.fixture
def call():
    numbers = [0] * len(struct.unpack(REQUEST, bytes(REQUEST_SIZE)))
    numbers[1] = os.getpid()
    return Call(struct.pack(REQUEST, *numbers), {})


def test_a_process_is_known_again_by_its_limit(fakes, call):
    alice, bob = starting(7, 7, [7]), starting(8, 8, [8, 9])
    for who in (alice, bob, alice):
        fakes._take_for(call, who)
        assert fakes._who(call) == who
    assert resource.prlimit(0, LOCKS)[0] == FIRST_TAG + 1


def test_identities_without_end_are_refused_and_known_ones_are_not(fakes, call):
    alice = starting(7, 7, [7])
    fakes._take_for(call, alice)
    crowds = [starting(number, 0, range(MAX_GROUPS)) for number in range(20)]
    with pytest.raises(BlockingIOError):
        deque((fakes._take_for(call, who) for who in crowds), maxlen=0)
    fakes._take_for(call, alice)
    assert fakes._who(call) == alice
