"""Which `# syntax=` is built in, and how others are refused."""

import pytest

from lazybuild.dockerfile.parse import parse
from lazybuild.dockerfile.syntax import require_known_syntax
from lazybuild.errors import NotSupportedYetError


@pytest.mark.parametrize(
    "name",
    [
        "docker/dockerfile",
        "docker/dockerfile:1.7-labs",
        "docker.io/docker/dockerfile:1@sha256:" + "0" * 64,
        "docker/dockerfile-upstream:master",
        "mirror.test:5000/docker/dockerfile:1",
        "registry.test/tools/lazybuild-frontend:2",
        "dockerfile.v0",
    ],
)
def test_built_in(name):
    require_known_syntax(parse(f"# syntax={name}\nFROM a"), {})
    require_known_syntax(parse("# syntax=other/one\nFROM a"), {"BUILDKIT_SYNTAX": f"{name} x=y"})


def test_no_syntax_at_all():
    require_known_syntax(parse("FROM a"), {})
    require_known_syntax(parse("FROM a"), {"BUILDKIT_SYNTAX": ""})


@pytest.mark.parametrize(
    "name", ["other/one", "docker/dockerfiles", "dockerfile", "UPPER", "x/not-lazybuild-frontend"]
)
def test_others_are_refused_with_their_line(name):
    with pytest.raises(NotSupportedYetError, match="not supported yet") as caught:
        require_known_syntax(parse(f"#!/x\n# syntax={name} a=b\nFROM a"), {})
    assert caught.value.span.line == 2
    assert name in caught.value.message


def test_the_argument_wins():
    with pytest.raises(NotSupportedYetError) as caught:
        require_known_syntax(parse("# syntax=docker/dockerfile\nFROM a"), {"BUILDKIT_SYNTAX": "x"})
    assert caught.value.span is None
