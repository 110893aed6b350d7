"""Changes of user as the kernel rules them: credentials(7), setuid(2), setreuid(2), setfsuid(2)."""

import itertools
import os
import subprocess
import sys

import pytest

from lazybuild.executor.sandbox.identity import UNCHANGED, changed, may_give, starting, with_groups

ROOT = starting(0, 0, [0])
ALICE = changed(changed(ROOT, "setresgid", [50, 50, 50])[0], "setresuid", [7, 8, 9])[0]


def test_root_may_become_anybody_and_somebody_only_who_they_are():
    assert changed(ROOT, "setuid", [5])[0][0] == (5, 5, 5, 5)
    assert ALICE[0] == (7, 8, 9, 8)
    assert changed(ALICE, "setuid", [9])[0][0] == (7, 9, 9, 9)
    assert changed(ALICE, "setresuid", [UNCHANGED, 9, 7])[0][0] == (7, 9, 7, 9)
    for call, args in (("setuid", [0]), ("setresuid", [7, 8, 0]), ("setresgid", [0, 50, 50])):
        with pytest.raises(PermissionError):
            changed(ALICE, call, args)
    with pytest.raises(PermissionError):
        with_groups(ALICE, (0,))
    assert with_groups(ROOT, (9, 5))[2] == (5, 9)


def test_the_user_of_files_answers_with_the_one_before():
    assert changed(ROOT, "setfsuid", [5]) == (((0, 0, 0, 5), (0,) * 4, (0,)), 0)
    assert changed(ALICE, "setfsuid", [0]) == (ALICE, 8)
    assert changed(ALICE, "setfsuid", [7])[0][0] == (7, 8, 9, 7)


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [((8, 1), (8, 50), True), ((8, 1), (8, 1), True), ((8, 1), (8, 2), False),
     ((8, 1), (0, 50), False), ((0, 1), (8, 50), False)],
)  # fmt: skip
def test_who_may_give_a_file(before, after, allowed):
    assert may_give(ALICE, before, after) == allowed
    assert may_give(ROOT, before, after)


KERNEL = """
import ctypes, os, sys
from lazybuild.linux import syscalls
libc = ctypes.CDLL(None, use_errno=True)
numbers = {"setreuid": 113, "setresuid": 117}
for line in sys.stdin:
    call, *args = line.split()
    child = os.fork()
    if not child:
        libc.syscall(117, 7, 8, 9)
        failed = libc.syscall(numbers[call], *[ctypes.c_uint(int(it)) for it in args])
        status = open("/proc/self/status").read().partition("Uid:")[2].splitlines()[0].split()
        print("no" if failed else " ".join(status), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.root
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="not run: numbers of calls of x86_64")
def test_the_kernel_rules_the_same():
    ids = (UNCHANGED, 0, 7, 8, 9)
    cases = [("setreuid", *pair) for pair in itertools.product(ids, repeat=2)]
    cases += [("setresuid", *three) for three in itertools.product(ids, repeat=3)]
    asked = "".join(" ".join(map(str, case)) + "\n" for case in cases)
    run = subprocess.run(
        [sys.executable, "-c", KERNEL], input=asked, capture_output=True, text=True, check=True
    )
    for (call, *args), said in zip(cases, run.stdout.splitlines(), strict=True):
        try:
            found = " ".join(map(str, changed(ALICE, call, args)[0][0]))
        except PermissionError:
            found = "no"
        assert found == said, (call, args)
