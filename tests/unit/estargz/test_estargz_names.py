"""Names of entries: every short one, against the rule as it is written down."""

from itertools import product

import pytest

from lazybuild.errors import IntegrityError
from lazybuild.estargz.names import clean

LONG = 255


@pytest.mark.parametrize("length", range(8))
def test_every_name_is_cleaned_by_the_same_rule(length):
    for name in map("".join, product("a./", repeat=length)):
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            with pytest.raises(IntegrityError, match="leaves the layer"):
                clean(name)
        else:
            assert clean(name) == "/".join(parts)


@pytest.mark.parametrize("name", ["\0", "a\0", "a/\0b", "/\0"])
def test_a_nul_byte_is_refused(name):
    with pytest.raises(IntegrityError, match="NUL"):
        clean(name)


@pytest.mark.parametrize("letter", ["a", "é", "\U0001f600"])
def test_a_part_may_have_what_a_file_system_holds(letter):
    size = len(letter.encode())
    fits = letter * (LONG // size)
    assert clean(f"d/{fits}") == f"d/{fits}"
    for name in (fits + "a" * size, "d/" + fits + "a" * size):
        with pytest.raises(IntegrityError, match="too long"):
            clean(name)
