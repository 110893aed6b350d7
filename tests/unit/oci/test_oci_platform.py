"""Platforms: containerd's table of names and preferences."""

import pytest

from lazybuild.errors import UsageError
from lazybuild.oci import digest, platform
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.platform import choose, matches, parse


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armel", "linux/arm/v6"),
        ("macos/arm64", "darwin/arm64"),
        ("linux/i386", "linux/386"),
    ],
)
def test_normalises(text, normal):
    assert str(parse(text)) == normal


@pytest.mark.parametrize("text", ["", "/", "a/b/c/d", "linux/", "lin ux/amd64", "nonsense", "li\n"])
def test_refuses(text):
    with pytest.raises(UsageError):
        parse(text)


def test_one_word_is_a_system_or_an_architecture():
    assert parse("arm64").os == platform.host().os
    assert parse("windows").architecture == platform.host().architecture


@pytest.mark.parametrize(
    ("have", "want", "fits"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64/v2", "linux/amd64/v3", True),
        ("linux/amd64/v3", "linux/amd64", False),
        ("linux/386", "linux/amd64", True),
        ("linux/arm/v6", "linux/arm/v7", True),
        ("linux/arm/v7", "linux/arm/v6", False),
        ("linux/arm/v7", "linux/arm64", True),
        ("windows/amd64", "linux/amd64", False),
    ],
)
def test_matches(have, want, fits):
    assert matches(parse(have), parse(want)) is fits


def entry(name, fields):
    return Descriptor(media_type="m", digest=digest.of(name.encode()), size=0, platform=fields)


def test_chooses_the_best_not_the_first():
    old = entry("old", {"os": "linux", "architecture": "arm", "variant": "v6"})
    good = entry("good", {"os": "linux", "architecture": "arm64", "variant": "v8"})
    proof = entry("proof", {"os": "unknown", "architecture": "unknown"})
    odd = entry("odd", {"os": 5, "os.features": "x"})
    assert choose([proof, odd, old, good], parse("linux/arm64")) is good
    assert choose([proof, old], parse("linux/arm64")) is old
    assert choose([proof, old], parse("linux/amd64")) is None


def test_platform_survives_a_descriptor():
    here = parse("linux/arm/v6")
    assert platform.from_json(here.as_json()) == here
