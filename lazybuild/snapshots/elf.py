"""What a program file needs to start: an ELF's interpreter and libraries, a script's interpreter.

Pure over a `read_at` of the file; every offset and length in it is hostile and bounded here.
Sources: System V ABI (gABI) chapters 4 and 5; execve(2), "Interpreter scripts".
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

ReadAt = Callable[[int, int], bytes]

MAGIC = b"\x7fELF"
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB, DT_RPATH, DT_RUNPATH = 1, 5, 15, 29
MAX_HEADERS = 256
MAX_DYNAMIC = 64 << 10
MAX_NAME = 4096
MAX_NEEDED = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """`interpreter` is a path, `libraries` are sonames or paths, `runpath` holds directories."""

    interpreter: str = ""
    libraries: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Layout:
    """The two classes and two byte orders of ELF: where fields are and how wide."""

    order: str
    wide: bool

    def unpack(self, wide: str, narrow: str, data: bytes, offset: int = 0) -> tuple[int, ...]:
        return struct.unpack_from(self.order + (wide if self.wide else narrow), data, offset)


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def needs(read_at: ReadAt) -> Needs | None:
    """What the file needs, or None for one that is neither ELF nor script, or is malformed."""
    head = read_at(0, 256)
    if head[:2] == b"#!":
        return _script(head)
    if head[:4] != MAGIC:
        return None
    try:
        return _elf(head, read_at)
    except (struct.error, ValueError, IndexError, OverflowError):
        return None


def _script(head: bytes) -> Needs | None:
    words = head[2:].split(b"\n", 1)[0].split()
    if not words:
        return None
    interpreter = words[0].decode("utf-8", "surrogateescape")
    program = words[1:2] if interpreter.rsplit("/", 1)[-1] == "env" else []
    named = tuple(word.decode("utf-8", "surrogateescape") for word in program)
    return Needs(
        interpreter=interpreter, libraries=tuple(n for n in named if not n.startswith("-"))
    )


def _elf(head: bytes, read_at: ReadAt) -> Needs:
    layout = _Layout(order="<" if head[5] == 1 else ">", wide=head[4] == 2)  # noqa: PLR2004 - ELFCLASS64
    segments = _segments(layout, head, read_at)
    interpreter = ""
    for segment in segments:
        if segment.kind == PT_INTERP:
            data = read_at(segment.offset, min(segment.size, MAX_NAME))
            interpreter = _text(data, 0)
    dynamic = next((part for part in segments if part.kind == PT_DYNAMIC), None)
    if dynamic is None:
        return Needs(interpreter=interpreter)
    libraries, runpath = _dynamic(layout, dynamic, segments, read_at)
    return Needs(interpreter=interpreter, libraries=libraries, runpath=runpath)


def _segments(layout: _Layout, head: bytes, read_at: ReadAt) -> list[_Segment]:
    (offset,) = layout.unpack("Q", "I", head, 32 if layout.wide else 28)
    size, count = layout.unpack("HH", "HH", head, 54 if layout.wide else 42)
    table = read_at(offset, min(count, MAX_HEADERS) * size)
    return [_segment(layout, table, at) for at in range(0, len(table), size)] if size else []


def _segment(layout: _Layout, table: bytes, at: int) -> _Segment:
    if layout.wide:
        kind, _, offset, address, _, size = layout.unpack("IIQQQQ", "", table, at)
    else:
        kind, offset, address, _, size = layout.unpack("", "IIIII", table, at)
    return _Segment(kind, offset, address, size)


def _dynamic(
    layout: _Layout, dynamic: _Segment, segments: list[_Segment], read_at: ReadAt
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    data = read_at(dynamic.offset, min(dynamic.size, MAX_DYNAMIC))
    step = 16 if layout.wide else 8
    pairs = [layout.unpack("QQ", "II", data, at) for at in range(0, len(data) - step + 1, step)]
    table = next((value for tag, value in pairs if tag == DT_STRTAB), 0)
    start = _file_offset(table, segments)
    if start is None:
        return (), ()

    def text(value: int) -> str:
        return _text(read_at(start + value, MAX_NAME), 0)

    libraries = tuple(text(value) for tag, value in pairs[:MAX_NEEDED] if tag == DT_NEEDED)
    paths = [text(value) for tag, value in pairs if tag in (DT_RUNPATH, DT_RPATH)]
    return libraries, tuple(part for path in paths for part in path.split(":") if part)


def _file_offset(address: int, segments: list[_Segment]) -> int | None:
    for segment in segments:
        if segment.kind == PT_LOAD and segment.address <= address < segment.address + segment.size:
            return address - segment.address + segment.offset
    return None


def _text(data: bytes, at: int) -> str:
    return data[at:].split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
