"""What is fetched on a guess, from which bytes the guess is made, and what a wrong one may cost."""

import marshal
import random
import struct
import time

import pytest
from support.layers import file, folder, link
from support.lazylayers import MemoryCache, content, first_chunk, lazy_layer

from lazybuild.snapshots.lazyfs import pyc
from lazybuild.snapshots.lazyfs.layer import GUESS_START, Why
from lazybuild.snapshots.lazyfs.prefetch import Prefetcher
from lazybuild.snapshots.lazyfs.reader import ChunkReader
from lazybuild.snapshots.lazyfs.speculate import Speculator

LIBRARIES = "usr/lib/x86_64-linux-gnu"
FILLER = 400_000
"""So that readahead from one file never reaches the next one."""


def noise(size, seed):
    return random.Random(seed).randbytes(size)


def elf(interpreter="", needed=()):
    """A 64-bit ELF file with just the parts that a loader looks at first."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    interp = interpreter.encode() + b"\0"
    base = 64 + 3 * 56
    at, pairs = 1, []
    for name in needed:
        pairs.append((1, at))
        at += len(name) + 1
    dynamic_at = base + len(interp) + len(strings)
    pairs += [(5, base + len(interp)), (10, len(strings)), (0, 0)]
    dynamic = b"".join(struct.pack("<qQ", *pair) for pair in pairs)
    total = dynamic_at + len(dynamic)

    def segment(kind, start, size):
        return struct.pack("<IIQQQQQQ", kind, 4, start, start, start, size, size, 1)

    header = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHI", 3, 62, 1)
    header += struct.pack("<QQQIHHHHHH", 0, 64, 0, 0, 64, 56, 3, 64, 0, 0)
    programs = segment(1, 0, total) + segment(3, base, len(interp))
    programs += segment(2, dynamic_at, len(dynamic))
    return header + programs + interp + strings + dynamic


class Setting:
    def __init__(self, items):
        spread = []
        for number, item in enumerate(items):
            spread += [item, file(f"zz-filler/{number}", noise(FILLER, number))]
        self.layer = lazy_layer(spread)
        self.reader = ChunkReader(MemoryCache())
        self.prefetcher = Prefetcher(self.reader)
        self.speculator = Speculator(self.reader, self.prefetcher)

    def read(self, path):
        content(self.reader, self.layer, path)
        self.speculator.consider(self.layer, self.layer.tree.find(path.encode()))
        self.settle()

    def settle(self):
        before = -1
        while before != (before := self.layer.figures.requests) or not self.prefetcher.wait(1):
            time.sleep(0.05)

    def here(self, path):
        return not self.reader.missing(self.layer, first_chunk(self.layer, path))


@pytest.fixture
def program():
    return [
        file("bin/tool", elf("/lib64/ld.so", ["liba.so.1"]) + noise(500, 1), mode=0o755),
        folder("lib64"),
        link("lib64/ld.so", "../lib/ld-real.so"),
        file("lib/ld-real.so", noise(900, 2)),
        link(f"{LIBRARIES}/liba.so.1", "liba.so.1.2.3"),
        file(f"{LIBRARIES}/liba.so.1.2.3", elf("", ["libb.so"]) + noise(600, 3)),
        file(f"{LIBRARIES}/libb.so", noise(700, 4)),
        file(f"{LIBRARIES}/libunrelated.so", noise(700, 5)),
    ]


def test_a_program_brings_its_interpreter_and_libraries_and_theirs(program):
    setting = Setting(program)
    setting.read("bin/tool")
    for path in ("lib/ld-real.so", f"{LIBRARIES}/liba.so.1.2.3", f"{LIBRARIES}/libb.so"):
        assert setting.here(path), path
    assert not setting.here(f"{LIBRARIES}/libunrelated.so")
    figures = setting.layer.figures
    spent = figures.fetched_for[Why.SPECULATION]
    content(setting.reader, setting.layer, f"{LIBRARIES}/libb.so")
    assert 0 < figures.used_of[Why.SPECULATION] < spent


def test_a_script_brings_its_interpreter():
    setting = Setting(
        [file("run", b"#!/usr/bin/env tool\n"), file("usr/bin/env", noise(500, 1)),
         file("usr/bin/tool", noise(500, 2)), file("usr/bin/other", noise(500, 3))]
    )  # fmt: skip
    setting.read("run")
    assert setting.here("usr/bin/env")
    assert setting.here("usr/bin/tool")
    assert not setting.here("usr/bin/other")


@pytest.mark.parametrize(
    "head",
    [
        b"\x7fELF",
        b"\x7fELF\2\1\1" + b"\xff" * 200,
        elf("/" + "x" * 5000, [])[:300],
        elf("", ["../../../../etc/passwd"]),
        b"#!\n",
        b"#!" + b"/loop" * 50,
    ],
)
def test_odd_files_end_the_guess_and_nothing_else(head):
    setting = Setting([file("odd", head), link("loop", "loop"), file("etc/passwd", b"root")])
    setting.read("odd")
    assert content(setting.reader, setting.layer, "odd") == head


def test_a_python_module_brings_what_it_imports():
    code = compile("import json, sub.deep\nfrom zlib import crc32\nlocal = 1\n", "m", "exec")
    library = "usr/lib/python3.11"
    setting = Setting(
        [file(f"{library}/__pycache__/m.cpython-311.pyc", bytes(16) + marshal.dumps(code)),
         file(f"{library}/json/__pycache__/__init__.cpython-311.pyc", noise(500, 1)),
         file(f"{library}/sub/__pycache__/deep.cpython-311.pyc", noise(500, 2)),
         file(f"{library}/__pycache__/other.cpython-311.pyc", noise(500, 3)),
         file(f"{library}/lib-dynload/zlib.cpython-311-x86_64-linux-gnu.so", noise(500, 4))]
    )  # fmt: skip
    setting.read(f"{library}/__pycache__/m.cpython-311.pyc")
    assert setting.here(f"{library}/json/__pycache__/__init__.cpython-311.pyc")
    assert setting.here(f"{library}/sub/__pycache__/deep.cpython-311.pyc")
    assert setting.here(f"{library}/lib-dynload/zlib.cpython-311-x86_64-linux-gnu.so")
    assert not setting.here(f"{library}/__pycache__/other.cpython-311.pyc")


def test_a_hostile_module_costs_no_more_than_its_names():
    layer = lazy_layer([file("python3/__pycache__/m.c.pyc", b"x"), file("python3/a", b"y")])
    ino = layer.tree.find(b"python3/__pycache__/m.c.pyc")
    for data in (b"", b"\xda", b"\xda\x40ab", b"\xda\x03..\0" * 5000, noise(200_000, 9)):
        assert list(pyc.imports(layer.tree, ino, data, 1 << 20)) == []


def test_the_rest_of_a_program_comes_when_two_pieces_were_asked_for():
    setting = Setting([file("bin/big", noise(50_000, 1), mode=0o755)])
    layer = lazy_layer([file("bin/big", noise(50_000, 1), mode=0o755)], chunk_size=4096)
    setting.layer = layer
    ino = layer.tree.find(b"bin/big")
    chunks = layer.tree.file_chunks(ino)
    layer.figures.fetched_for[Why.AHEAD] = 2 * GUESS_START  # no readahead, please
    setting.reader.read(layer, chunks[5])
    setting.speculator.go_on(layer, ino)
    setting.settle()
    assert setting.reader.missing(layer, chunks[9])
    setting.reader.read(layer, chunks[2])
    setting.speculator.go_on(layer, ino)
    setting.settle()
    assert not any(setting.reader.missing(layer, chunk) for chunk in chunks)


def test_guesses_stop_when_they_are_wrong_too_often():
    layer = lazy_layer([file("a", noise(1000, 1)), file("b", noise(1000, 2))])
    assert layer.window() > 0
    layer.figures.fetched_for[Why.SPECULATION] = GUESS_START + 1
    assert layer.window() == 0
    layer.figures.used_of[Why.SPECULATION] = GUESS_START
    assert layer.window() > 0
