"""Modules stay small enough to be read in one sitting, and say what they are for."""

import ast
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent.parent.parent
LONGEST_MODULE = 450
LONGEST_FUNCTION = 60
MODULES = sorted(
    path
    for top in ("lazybuild", "frontend")
    for path in SOURCES.glob(f"{top}/**/*.py")
    if "buildkit_frontend_protos" not in path.parts
)


def names(paths):
    return [path.relative_to(SOURCES).as_posix() for path in paths]


def test_there_are_modules():
    assert len(MODULES) > 100


def test_no_module_is_too_long():
    long = [path for path in MODULES if len(path.read_text().splitlines()) > LONGEST_MODULE]
    assert names(long) == []


def functions(path: Path) -> list[tuple[str, int]]:
    return [
        (node.name, (node.end_lineno or 0) - node.lineno + 1)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]


def test_no_function_is_too_long():
    long = [
        f"{name}:{function} {length}"
        for name, path in zip(names(MODULES), MODULES, strict=True)
        for function, length in functions(path)
        if length > LONGEST_FUNCTION
    ]
    assert long == []


@pytest.mark.parametrize("path", MODULES, ids=names(MODULES))
def test_a_module_says_what_it_is_for(path):
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text))
