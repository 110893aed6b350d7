"""What a command is expected to read: programs where a shell looks for one, their companions."""

import pytest
from support.layers import file, link
from support.lazylayers import lazy_layer

from lazybuild.errors import ResourceError
from lazybuild.snapshots.lazyfs import commands, messages

GCC = "usr/lib/gcc/x86_64-linux-gnu/12"
PYTHON = "usr/lib/python3.11"
NAMES = [
    "bin/sh", "etc/group", "etc/passwd", "usr/bin/as", "usr/bin/cat", "usr/bin/cut",
    "usr/bin/install", "usr/bin/make", "usr/bin/python3.11", "usr/bin/x86_64-linux-gnu-gcc-12",
    f"{GCC}/cc1", f"{GCC}/collect2", f"{GCC}/crtbeginS.o", f"{GCC}/crtbeginT.o",
    f"{PYTHON}/__pycache__/code.cpython-311.pyc", f"{PYTHON}/__pycache__/ssl.cpython-311.pyc",
    f"{PYTHON}/encodings/__pycache__/__init__.cpython-311.pyc",
    f"{PYTHON}/json/__pycache__/__init__.cpython-311.pyc",
    f"{PYTHON}/lib-dynload/_lzma.cpython-311-x86_64-linux-gnu.so",
    "usr/lib/x86_64-linux-gnu/Scrt1.o", "usr/lib/x86_64-linux-gnu/libc.a",
]  # fmt: skip
LINKS = [
    link("usr/bin/cc", "/usr/bin/gcc"),
    link("usr/bin/gcc", "x86_64-linux-gnu-gcc-12"),
    link("usr/bin/loop", "loop"),
    link("usr/bin/python3", "python3.11"),
]


@pytest.fixture(scope="module")
def tree():
    return lazy_layer([*(file(name, name.encode()) for name in NAMES), *LINKS]).tree


def guessed(tree, line):
    found = commands.files(tree, ("/bin/sh", "-c", line))
    assert len(set(found)) == len(found)
    return {tree.path(ino).decode() for ino in found} - {"bin/sh", "etc/passwd", "etc/group"}


@pytest.mark.parametrize(
    ("line", "programs"),
    [
        ("cat x", {"cat"}),
        ("A=1 B='2' cat x | cut -f1", {"cat", "cut"}),
        ("cd /x && if cat y; then make; else ! cut z; fi", {"cat", "make", "cut"}),
        ("echo cat make", set()),
        ("cat install cut", {"cat"}),
        ("sudo -E make; (cut)", {"make", "cut"}),
        ("/usr/bin/make", {"make"}),
        ("nowhere; /nowhere/either; loop", set()),
        ("cat\ncut", {"cat", "cut"}),
    ],
)
def test_programs_are_the_words_at_which_a_command_begins(tree, line, programs):
    assert guessed(tree, line) == {f"usr/bin/{name}" for name in programs}


def test_what_every_step_reads_and_its_shell_come_first(tree):
    found = [tree.path(ino) for ino in commands.files(tree, ("/bin/sh", "-c", "cat x"))]
    assert found == [b"bin/sh", b"etc/passwd", b"etc/group", b"usr/bin/cat"]


def test_a_command_without_a_shell_is_its_program(tree):
    found = [tree.path(ino) for ino in commands.files(tree, ("cat", "make"))]
    assert found == [b"etc/passwd", b"etc/group", b"usr/bin/cat"]


def test_python_brings_its_start_and_what_the_line_imports(tree):
    assert guessed(tree, "python3 -c 'import json, ssl; from _lzma import x'") == {
        "usr/bin/python3.11",
        f"{PYTHON}/encodings/__pycache__/__init__.cpython-311.pyc",
        f"{PYTHON}/json/__pycache__/__init__.cpython-311.pyc",
        f"{PYTHON}/__pycache__/ssl.cpython-311.pyc",
        f"{PYTHON}/lib-dynload/_lzma.cpython-311-x86_64-linux-gnu.so",
    }


def test_a_compiler_brings_what_it_starts_and_links(tree):
    driver, compiler = "usr/bin/x86_64-linux-gnu-gcc-12", f"{GCC}/cc1"
    linked = {f"{GCC}/crtbeginS.o", f"{GCC}/collect2", "usr/lib/x86_64-linux-gnu/Scrt1.o"}
    static = {f"{GCC}/crtbeginT.o", f"{GCC}/collect2", "usr/lib/x86_64-linux-gnu/libc.a"}
    always = {driver, compiler, "usr/bin/as"}
    assert guessed(tree, "cc a.c") == always | linked
    assert guessed(tree, "gcc -static -O2 a.c -o a") == always | static
    assert guessed(tree, "gcc -c a.c") == always


@pytest.mark.parametrize("line", ["", "&&;|", "a=" * 50_000, "-x " * 30_000, "\udcff", "x\0y"])
def test_odd_lines_are_no_trouble(tree, line):
    assert guessed(tree, line) == set()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")])
def test_what_is_short_in_the_daemon_is_no_bug(error):
    told = messages.raised(messages.fault(error))
    assert isinstance(told, ResourceError)
    assert str(told) != "lazy file system: "
    assert isinstance(messages.raised(messages.fault(KeyError("x"))), RuntimeError)
