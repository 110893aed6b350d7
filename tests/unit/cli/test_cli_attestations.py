"""What --sbom, --provenance and --attest ask for."""

import pytest

from lazybuild.cli import attestations, build
from lazybuild.errors import UsageError


def asked(*words):
    given = build.command.make_context("build", [*words, "."]).params
    return attestations.sbom(given), attestations.provenance(given)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), (False, "")),
        (("--sbom", "--provenance"), (True, "min")),
        (("--sbom=false", "--provenance=false"), (False, "")),
        (("--provenance=mode=max",), (False, "max")),
        (("--provenance=mode=max,version=v1",), (False, "max")),
        (("--attest", "type=sbom", "--attest", "type=provenance,mode=max"), (True, "max")),
        (("--attest", "type=provenance", "--provenance=false"), (False, "")),
        (("--attest", "type=sbom,disabled=true"), (False, "")),
    ],
)
def test_it_is_off_unless_asked_for(words, expected):
    assert asked(*words) == expected


@pytest.mark.parametrize(
    "word",
    ["--sbom=generator=x", "--provenance=mode=all", "--provenance=version=v0.2", "--sbom=perhaps"],
)
def test_what_it_can_not_be_is_said(word):
    with pytest.raises(UsageError, match=word[:6]):
        asked(word)


def test_other_attestations_are_refused():
    with pytest.raises(UsageError, match="type is sbom"):
        asked("--attest", "type=other")
