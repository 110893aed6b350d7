"""Guesses from the words of a command which files of a layer it will read. Pure, over the tree.

A step's command is known long before it runs, so what it is sure to load need not be waited for one
round trip after the other. Looked at are the programs at the places where a shell takes a word for
one, the modules that a line for Python imports, and what some programs always start or open, which
nothing in their files tells. Guesses may be wrong; nothing depends on them.
"""

import re
from collections.abc import Iterator, Sequence

from lazybuild.snapshots.lazyfs import pyc
from lazybuild.snapshots.lazyfs.paths import follow
from lazybuild.snapshots.lazyfs.tree import Tree

_ALWAYS = ("etc/passwd", "etc/group", "etc/ld.so.cache")
_FOLDERS = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
_TEXT_MAX = 64 << 10
_PROGRAMS_MAX = 32
_MODULES_MAX = 64

_SHELL = re.compile(r"(?:.*/)?(?:ba|da|a|z|k)?sh")
_NEXT = re.compile(
    r"&&|\|\||[;|&(){}\n]|\b(?:then|do|else|elif|if|while|until|exec|time|env|sudo|xargs)\b"
)
_FIRST = re.compile(r"\s*(?:\w+=\S*\s+|!\s+|-\w+\s+)*([\w.+/-]+)")
_WORDS = (
    ". : [ alias bg break builtin case cd command continue declare done echo esac eval exit export"
    " false fg fi for function getopts hash in kill let local printf pwd read readonly return set"
    " shift source test times trap true type ulimit umask unset wait"
)
_BUILTINS = frozenset(_WORDS.split())

_PYTHON = re.compile(rb"(.*?)bin/(python(\d)\.(\d+))")
_IMPORTS = re.compile(r"\b(?:import|from|-m)\s+([A-Za-z_][\w.]*(?:\s*,\s*[A-Za-z_][\w.]*)*)")
_PYTHON_FILES = (
    "usr/lib/locale/C.utf8/LC_CTYPE",
    "usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache",
    "usr/lib/aarch64-linux-gnu/gconv/gconv-modules.cache",
    "etc/localtime",
)
_PYTHON_MODULES = (
    "encodings", "encodings.aliases", "encodings.utf_8", "codecs", "sitecustomize",
)  # fmt: skip

_COMPILER = re.compile(rb".*bin/(\w+-linux-gnu\w*)-(gcc|g\+\+)-(\d+)")
_COMPILER_FILES = {
    False: ("collect2", "liblto_plugin.so", "libgcc.a", "crtbeginS.o", "crtendS.o"),
    True: ("collect2", "liblto_plugin.so", "libgcc.a", "libgcc_eh.a", "crtbeginT.o", "crtend.o"),
}
_LINKED_FILES = {
    False: ("Scrt1.o", "crti.o", "crtn.o", "libc.so", "libc.so.6", "libc_nonshared.a"),
    True: ("crt1.o", "crti.o", "crtn.o", "libc.a"),
}
_COMPILES_ONLY = re.compile(r"\s-[cSE]\s")
_STATIC = re.compile(r"\s-static\b")

_COMPANIONS = {
    b"apt-get": (
        "usr/lib/apt/methods/http", "usr/lib/apt/methods/https", "usr/lib/apt/methods/store",
        "usr/lib/apt/methods/gpgv", "usr/bin/apt-key", "usr/bin/apt-config", "usr/bin/gpgv",
        "usr/bin/dpkg", "var/lib/dpkg/status",
    ),
}  # fmt: skip
_COMPANIONS[b"apt"] = _COMPANIONS[b"apt-get"]


def files(tree: Tree, argv: Sequence[str]) -> list[int]:
    """Inodes of the files that the command is likely to read, those needed first first."""
    found: dict[int, None] = {}
    text = _text(argv)
    for name in (*argv[:1], *_ALWAYS):
        found[follow(tree, name)] = None
    for program in _programs(tree, text):
        found[program] = None
        for other in _companions(tree, tree.path(program), text):
            found[other] = None
    found.pop(0, None)
    return list(found)


def _text(argv: Sequence[str]) -> str:
    """As one line of a shell."""
    match argv:
        case [shell, "-c", text, *_] if _SHELL.fullmatch(shell):
            return text[:_TEXT_MAX]
    return " ".join(argv)[:_TEXT_MAX]


def _programs(tree: Tree, text: str) -> Iterator[int]:
    words: dict[str, None] = {}
    for part in _NEXT.split(text):
        first = _FIRST.match(part)
        if first and first[1] not in _BUILTINS:
            words[first[1]] = None
    for word in list(words)[:_PROGRAMS_MAX]:
        places = [word] if "/" in word else [f"{folder}/{word}" for folder in _FOLDERS]
        found = next((ino for place in places if (ino := follow(tree, place))), 0)
        if found:
            yield found


def _companions(tree: Tree, path: bytes, text: str) -> Iterator[int]:
    """What the program there reads besides itself and its libraries."""
    if python := _PYTHON.fullmatch(path):
        yield from (follow(tree, name) for name in _PYTHON_FILES)
        yield from _modules(tree, python, text)
    elif compiler := _COMPILER.fullmatch(path):
        yield from (follow(tree, name) for name in _tools(compiler, text))
    else:
        names = _COMPANIONS.get(path.rpartition(b"/")[2], ())
        yield from (follow(tree, name) for name in names)


def _modules(tree: Tree, python: re.Match[bytes], text: str) -> Iterator[int]:
    names = dict.fromkeys(_PYTHON_MODULES)
    for match in _IMPORTS.finditer(text):
        names |= dict.fromkeys(name.strip() for name in match[1].split(","))
    library = python[1] + b"lib/" + python[2]
    tag = b"cpython-" + python[3] + python[4] + pyc.SUFFIX
    for name in list(names)[:_MODULES_MAX]:
        for folder in (library, library + b"/lib-dynload"):
            yield from pyc.module(tree, folder, name.encode(), tag)


def _tools(compiler: re.Match[bytes], text: str) -> Iterator[str]:
    triple, language, version = (part.decode() for part in compiler.groups())
    home = f"usr/lib/gcc/{triple}/{version}"
    yield f"{home}/cc1plus" if language == "g++" else f"{home}/cc1"
    yield "usr/bin/as"
    yield "usr/include/stdc-predef.h"
    if _COMPILES_ONLY.search(text):
        return
    static = _STATIC.search(text) is not None
    yield "usr/bin/ld"
    yield from (f"{home}/{name}" for name in _COMPILER_FILES[static])
    yield from (f"usr/lib/{triple}/{name}" for name in _LINKED_FILES[static])
    if language == "g++":
        yield f"{home}/libstdc++.a" if static else f"{home}/libstdc++.so"
