"""The BPF program, run by a small interpreter of the instructions it uses."""

import struct

import pytest

from lazybuild.errors import HostError
from lazybuild.executor import seccomp
from lazybuild.executor.seccomp import ALLOW, ASK, AUDIT_ARCH, PRETEND, REFUSE, UNKNOWN

ARCHES = [("x86_64", "x86_64"), ("x86_64", "i386"), ("aarch64", "aarch64")]


def judge(program: bytes, arch: int, number: int, *arguments: int) -> int:
    data = struct.pack("=IIQ6Q", number, arch, 0, *(*arguments, *[0] * 6)[:6])
    at = accumulator = 0
    while True:
        code, yes, no, value = struct.unpack_from("=HBBI", program, 8 * at)
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x05:
                at += value
            case 0x06:
                return value
            case 0x15:
                at += yes if accumulator == value else no
            case 0x25:
                at += yes if accumulator > value else no
            case 0x35:
                at += yes if accumulator >= value else no
            case 0x45:
                at += yes if accumulator & value else no
            case _:
                raise AssertionError(hex(code))


@pytest.fixture(params=ARCHES, ids="-".join)
def arch(request):
    machine, name = request.param
    program = seccomp.docker_default(machine)

    def ask(number: int, argument: int = 0) -> int:
        return judge(program, AUDIT_ARCH[name], number, argument)

    return ask, seccomp._numbers(name)


def test_exactly_the_numbers_of_the_table_are_allowed(arch):
    ask, numbers = arch
    special = {numbers[name] for name in seccomp.BY_ARGUMENT}
    for number in range(600):
        if number in special:
            continue
        beyond = UNKNOWN if number > seccomp.NEWEST_KNOWN else REFUSE
        assert ask(number) == (ALLOW if number in numbers.values() else beyond), number


def test_clone_may_not_make_namespaces(arch):
    ask, numbers = arch
    assert ask(numbers["clone"], 0x01200011) == ALLOW  # fork
    assert ask(numbers["clone"], 0x003D0F00) == ALLOW  # a thread
    for flag in (0x10000000, 0x20000000, 0x00020000, 0x02000000, 0x04000000, 0x08000000, 1 << 30):
        assert ask(numbers["clone"], flag | 17) == REFUSE, hex(flag)
    assert ask(numbers["clone3"]) == UNKNOWN


def test_personality_and_socket_by_their_argument(arch):
    ask, numbers = arch
    allowed = {it for it in range(0x20020) if ask(numbers["personality"], it) == ALLOW}
    assert allowed == {0, 8, 0x20000, 0x20008}
    assert ask(numbers["personality"], 0xFFFFFFFF) == ALLOW
    refused = {it for it in range(64) if ask(numbers["socket"], it) == REFUSE}
    assert refused == {38, 40}


def test_other_architectures_get_nothing():
    program = seccomp.docker_default("x86_64")
    assert judge(program, AUDIT_ARCH["aarch64"], 63) == UNKNOWN
    x32 = 0x40000000
    assert judge(program, AUDIT_ARCH["x86_64"], x32) == UNKNOWN


def test_calls_a_step_must_not_make_are_not_in_the_table():
    names = {row[0] for row in seccomp._table()}
    refused = "keyctl add_key request_key bpf userfaultfd kexec_load kexec_file_load init_module"
    refused += " finit_module delete_module reboot swapon swapoff mount umount2 unshare setns"
    refused += " pivot_root open_by_handle_at perf_event_open fsopen move_mount io_uring_setup"
    assert names.isdisjoint(refused.split())
    assert {"ptrace", "chroot", "execve", "mknod", "setgroups", "fchmodat2"} <= names


def test_an_unknown_machine_is_refused():
    with pytest.raises(HostError, match="riscv64"):
        seccomp.docker_default("riscv64")


def test_jumps_stay_within_the_program():
    programs = (seccomp.docker_default, seccomp.fakes)
    for program in [make(machine) for make in programs for machine in seccomp.FAMILIES]:
        count = len(program) // 8
        assert count < 4096
        for at in range(count):
            code, yes, no, value = struct.unpack_from("=HBBI", program, 8 * at)
            if code not in (0x20, 0x06):
                reach = value if code == 0x05 else max(yes, no)
                assert at + 1 + reach < count, at


@pytest.mark.parametrize(("machine", "name"), ARCHES)
def test_what_a_step_with_one_id_asks_about(machine, name):
    program, numbers = seccomp.fakes(machine), seccomp._numbers(name)
    names = seccomp.asked_about(machine)

    def ask(call, *arguments):
        return judge(program, AUDIT_ARCH[name], numbers[call], *arguments)

    for call in ("fchownat", "mkdirat", "renameat2", "setxattr", "openat2", "symlinkat"):
        assert ask(call) == ASK, call
        assert names[AUDIT_ARCH[name], numbers[call]] == call
    assert ask("openat", 5, 5, 0o102) == ASK
    assert ask("openat", 0o100, 0o100, 0o2) == ALLOW
    assert [ask(call) for call in ("read", "close", "execve", "unlinkat")] == [ALLOW] * 4
    wide = "32" if name == "i386" else ""
    assert ask(f"setresuid{wide}") == ask(f"getuid{wide}") == ASK
    assert ask("setresuid") == (PRETEND if name == "i386" else ASK)
    assert (ask("newfstatat") if "newfstatat" in numbers else ALLOW) == (ALLOW if wide else ASK)
