"""Hostile inputs and faults: cases.toml names the tests that hold them. That those exist is checked
here, so that none of them is lost without a word.
"""

import ast
import tomllib
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
CASES = tomllib.loads(Path(__file__).with_name("cases.toml").read_text())
NUMBERS = {
    "layers": range(1, 33),
    "tables": range(33, 48),
    "contexts": range(48, 62),
    "commands": range(62, 78),
    "registries": range(78, 91),
    "secrets": range(91, 95),
    "graphs": range(95, 97),
    "outputs": range(97, 101),
    "faults": range(1, 41),
}
NAMED = sorted({test for table in CASES.values() for tests in table.values() for test in tests})


@cache
def functions_in(path):
    tree = ast.parse((TESTS / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_a_table_names_exists(name):
    path, _, test = name.partition("::")
    assert test in functions_in(path)


def test_each_table_has_its_numbers():
    assert CASES.keys() == NUMBERS.keys()


@pytest.mark.parametrize("table", NUMBERS)
def test_no_case_is_left_out(table):
    found = {int(word) for case in CASES[table] for word in case.split() if word.isdigit()}
    assert found == set(NUMBERS[table])
