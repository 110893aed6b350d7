"""The closure of a command, over this machine's own programs and over hostile ones."""

import os
import struct
from pathlib import Path

import pytest

from lazybuild.snapshots import elf
from lazybuild.snapshots.closure import Start, closure
from lazybuild.snapshots.hosttree import HostTree


def read_at(data):
    return lambda offset, length: data[offset : offset + length]


def lay(root: Path, *programs: str) -> None:
    for program in programs:
        target = root / program.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(program).read_bytes())


def test_this_machines_shell_needs_an_interpreter_and_the_c_library():
    data = Path(os.path.realpath("/bin/sh")).read_bytes()
    needs = elf.needs(read_at(data))
    assert needs.interpreter.startswith("/lib")
    assert "libc.so.6" in needs.libraries


def test_a_script_needs_its_interpreter_and_what_env_starts():
    assert elf.needs(read_at(b"#!/bin/sh -e\n")).interpreter == "/bin/sh"
    needs = elf.needs(read_at(b"#!/usr/bin/env python3\n"))
    assert (needs.interpreter, needs.libraries) == ("/usr/bin/env", ("python3",))


@pytest.mark.parametrize("data", [b"", b"text", b"\x7fELF", b"\x7fELF\x02\x01" + b"\xff" * 250])
def test_what_is_no_program_needs_nothing(data):
    assert elf.needs(read_at(data)) in (None, elf.Needs())


def test_a_header_that_points_past_the_end_is_refused_quietly():
    head = bytearray(b"\x7fELF\x02\x01" + bytes(58))
    struct.pack_into("<QxxxxxxxxxxxxxxHH", head, 32, 1 << 60, 56, 9)
    assert elf.needs(read_at(bytes(head))) in (None, elf.Needs())


def test_the_closure_follows_links_and_libraries_in_the_tree(tmp_path):
    interpreter = elf.needs(read_at(Path(os.path.realpath("/bin/sh")).read_bytes())).interpreter
    real = Path(os.path.realpath(interpreter))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/dash").write_bytes(Path(os.path.realpath("/bin/sh")).read_bytes())
    (tmp_path / "bin/sh").symlink_to("dash")
    target = tmp_path / interpreter.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(real.read_bytes())
    libc = tmp_path / "lib/x86_64-linux-gnu/libc.so.6"
    libc.parent.mkdir(parents=True, exist_ok=True)
    libc.write_bytes(b"not looked into")
    found = closure(HostTree(tmp_path), Start(argv=("sh", "-c", "true"), env=("PATH=/bin",)))
    assert found[:2] == ["bin/sh", "bin/dash"]
    assert set(found[2:]) == {interpreter.lstrip("/"), "lib/x86_64-linux-gnu/libc.so.6"}


def test_a_command_that_is_not_there_has_no_closure(tmp_path):
    assert closure(HostTree(tmp_path), Start(argv=("nothing",))) == []
    assert closure(HostTree(tmp_path), Start()) == []


def test_what_may_not_be_opened_is_named_and_not_looked_into(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").write_bytes(Path(os.path.realpath("/bin/sh")).read_bytes())
    start = Start(argv=("/bin/sh",))
    assert closure(HostTree(tmp_path), start, lambda name: False) == ["bin/sh"]
