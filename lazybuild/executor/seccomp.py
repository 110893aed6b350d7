"""Docker's default seccomp profile as a BPF program, for x86_64 (with i386) and aarch64.

The allowed calls and their numbers are data, `syscalls.tbl`; the rules that look at an argument
are below. Source: moby/profiles seccomp/default.json. A call that the profile does not name fails
with EPERM, one that is newer than the profile with ENOSYS, so that programs fall back. Pure.
"""

import errno
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from lazybuild.errors import HostError

AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7}
FAMILIES: Final = {"x86_64": ("x86_64", "i386"), "aarch64": ("aarch64",)}
COLUMNS: Final = ("x86_64", "i386", "aarch64")
BY_ARGUMENT: Final = ("clone", "clone3", "personality", "socket")
NEWEST_KNOWN: Final = 466  # removexattrat

NAMESPACE_FLAGS: Final = 0x7E020000  # CLONE_NEW*
PERSONALITIES: Final = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
REFUSED_FAMILIES: Final = (38, 40)  # AF_ALG, AF_VSOCK

ALLOW: Final = 0x7FFF0000
REFUSE: Final = 0x00050000 | errno.EPERM
UNKNOWN: Final = 0x00050000 | errno.ENOSYS
PRETEND: Final = 0x00050000  # fails with errno 0, which is success
ASK: Final = 0x7FC00000  # of whoever holds the listener

_LOAD, _EQUAL, _GREATER, _GREATER_EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; low half of args[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Instruction:
    code: int
    value: int
    yes: int = 0
    no: int = 0

    def pack(self) -> bytes:
        return struct.pack("=HBBI", self.code, self.yes, self.no, self.value)


@cache
def docker_default(machine: str = "") -> bytes:
    """The program for this machine, as an array of struct sock_filter."""
    machine = machine or os.uname().machine
    if machine not in FAMILIES:
        raise HostError(
            f"no seccomp profile for {machine}", hint="lazybuild runs on x86_64 and aarch64"
        )
    program = [_Instruction(code=_LOAD, value=_ARCH)]
    for arch in FAMILIES[machine]:
        block = _block(_numbers(arch))
        program += _skip_unless(AUDIT_ARCH[arch], len(block))
        program += block
    program.append(_Instruction(code=_RETURN, value=UNKNOWN))
    return b"".join(instruction.pack() for instruction in program)


USERS: Final = ("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups",
                "setfsuid", "setfsgid")  # fmt: skip
ASKED_USERS: Final = (*USERS, "getuid", "getgid", "geteuid", "getegid", "getresuid", "getresgid",
                      "getgroups")  # fmt: skip
ASKED_ABOUT: Final = ("chown", "fchown", "lchown", "fchownat", "mknod", "mknodat", "mkdir",
                      "mkdirat", "symlink", "symlinkat", "rename", "renameat", "renameat2",
                      "openat2")  # fmt: skip
NOTERS: Final = ("setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr",
                 "fremovexattr", "removexattrat")  # fmt: skip
STATS: Final = ("stat", "fstat", "lstat", "newfstatat", "statx")
MAKERS: Final = {"open": 1, "openat": 2}  # make files if their flags, in this argument, say so

LIMITERS: Final = {"setrlimit": 0, "prlimit64": 1}  # with the resource in this argument
RLIMIT_LOCKS: Final = 10  # where sandbox.fakes keeps whom a process takes itself for


@cache
def fakes(machine: str = "") -> bytes:
    """What goes on top for a step with a single id: what would need another id is asked about
    (sandbox.fakes).
    """
    program = [_Instruction(code=_LOAD, value=_ARCH)]
    for arch in FAMILIES[machine or os.uname().machine]:
        block = _lookups(arch)
        program += _skip_unless(AUDIT_ARCH[arch], len(block))
        program += block
    program.append(_Instruction(code=_RETURN, value=ALLOW))
    return b"".join(instruction.pack() for instruction in program)


@cache
def asked_about(machine: str = "") -> dict[tuple[int, int], str]:
    """The name of each such call by architecture and number; those with 16-bit ids end in 16."""
    return {
        (AUDIT_ARCH[arch], number): f"{name}16" if _is_short(arch, name) else name
        for arch in FAMILIES[machine or os.uname().machine]
        for name, number in (*_asked(arch), *_by_argument(arch))
    }


def _asked(arch: str) -> list[tuple[str, int]]:
    """Programs of i386 see the owners that files have: their structures are of another time. Of
    their calls about users only those with whole ids are asked about.
    """
    numbers = _numbers(arch)
    if arch == "i386":
        users = [f"{name}32" for name in ASKED_USERS]
        return [
            *_wide(numbers, (*ASKED_ABOUT, *NOTERS)),
            *[(name, numbers[name]) for name in users],
        ]
    return _wide(numbers, (*ASKED_ABOUT, *ASKED_USERS, *NOTERS, *STATS))


def _by_argument(arch: str) -> list[tuple[str, int]]:
    numbers = _numbers(arch)
    return [(name, numbers[name]) for name in (*MAKERS, *LIMITERS) if name in numbers]


def _is_short(arch: str, name: str) -> bool:
    return arch == "i386" and name in ("chown", "fchown", "lchown")


def _wide(numbers: dict[str, int], names: Iterable[str]) -> list[tuple[str, int]]:
    """With the variants that i386 has for ids of 32 bits."""
    both = [variant for name in names for variant in (name, f"{name}32")]
    return [(name, numbers[name]) for name in both if name in numbers]


def _lookups(arch: str) -> list[_Instruction]:
    """What is asked about on this architecture; all else is allowed."""
    numbers = _numbers(arch)
    pretended = [numbers[name] for name in USERS] if arch == "i386" else []
    program = [_Instruction(code=_LOAD, value=_NUMBER)]
    for number in pretended:
        program += _if_number(number, [_Instruction(code=_RETURN, value=PRETEND)])
    for _, number in _asked(arch):
        program += _if_number(number, [_Instruction(code=_RETURN, value=ASK)])
    for name, number in _by_argument(arch):
        if name in MAKERS:
            at, test = MAKERS[name], _verdict(_ANY_BIT, (os.O_CREAT,), hit=ASK, miss=ALLOW)
        else:
            at, test = LIMITERS[name], _verdict(_EQUAL, (RLIMIT_LOCKS,), hit=ASK, miss=ALLOW)
        load = _Instruction(code=_LOAD, value=_FIRST_ARGUMENT + 8 * at)
        program += _if_number(number, [load, *test])
    return [*program, _Instruction(code=_RETURN, value=ALLOW)]


def _if_number(number: int, then: list[_Instruction]) -> list[_Instruction]:
    return [_Instruction(code=_EQUAL, value=number, no=len(then)), *then]


@cache
def _table() -> tuple[tuple[str, ...], ...]:
    text = resources.files(__package__).joinpath("syscalls.tbl").read_text()
    return tuple(tuple(line.split()) for line in text.splitlines() if not line.startswith("#"))


def _numbers(arch: str) -> dict[str, int]:
    column = 1 + COLUMNS.index(arch)
    return {row[0]: int(row[column]) for row in _table() if row[column] != "-"}


def _skip_unless(arch: int, length: int) -> list[_Instruction]:
    """Go on with the next `length` instructions only on `arch`. A jump reaches 255, a goto more."""
    goto = _Instruction(code=0x05, value=length)
    return [_Instruction(code=_EQUAL, value=arch, yes=1, no=0), goto]


def _block(numbers: dict[str, int]) -> list[_Instruction]:
    """The verdicts of one architecture; always ends in a return."""
    program = [_Instruction(code=_LOAD, value=_NUMBER)]
    for name in BY_ARGUMENT:
        rule = _argument_rule(name)
        program.append(_Instruction(code=_EQUAL, value=numbers[name], yes=0, no=len(rule)))
        program += rule
    plain = _ranges(number for name, number in numbers.items() if name not in BY_ARGUMENT)
    return program + _range_rules(plain)


def _argument_rule(name: str) -> list[_Instruction]:
    argument = _Instruction(code=_LOAD, value=_FIRST_ARGUMENT)
    match name:
        case "clone":
            return [argument, *_verdict(_ANY_BIT, (NAMESPACE_FLAGS,), hit=REFUSE, miss=ALLOW)]
        case "personality":
            return [argument, *_verdict(_EQUAL, PERSONALITIES, hit=ALLOW, miss=REFUSE)]
        case "socket":
            return [argument, *_verdict(_EQUAL, REFUSED_FAMILIES, hit=REFUSE, miss=ALLOW)]
        case _:
            return [_Instruction(code=_RETURN, value=UNKNOWN)]


def _verdict(code: int, values: tuple[int, ...], *, hit: int, miss: int) -> list[_Instruction]:
    count = len(values)
    tests = [_Instruction(code=code, value=it, yes=count - at) for at, it in enumerate(values)]
    returns = [_Instruction(code=_RETURN, value=it) for it in (miss, hit)]
    return [*tests, *returns]


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Runs of neighbouring numbers, first and last, in order."""
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _range_rules(runs: list[tuple[int, int]]) -> list[_Instruction]:
    """Below a run's start is a gap, up to its end is inside; both jump to the returns at the end.

    The kernel works these out once for each call number and keeps the answer, so order is enough.
    """
    tests: list[_Instruction] = []
    length = 2 * len(runs) + 1
    for at, (first, last) in enumerate(runs):
        after_first, after_last = length - 2 * at - 1, length - 2 * at - 2
        tests.append(_Instruction(code=_GREATER_EQUAL, value=first, no=after_first))
        tests.append(_Instruction(code=_GREATER, value=last, no=after_last + 1))
    newer = _Instruction(code=_GREATER, value=NEWEST_KNOWN, yes=2)
    returns = [_Instruction(code=_RETURN, value=it) for it in (REFUSE, ALLOW, UNKNOWN)]
    return [*tests, newer, *returns]
