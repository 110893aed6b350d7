"""References: the cases of distribution/reference and of the docker commands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazybuild.errors import UsageError
from lazybuild.oci import reference

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("debian", "docker.io/library/debian:latest", "debian:latest"),
        ("debian:12", "docker.io/library/debian:12", "debian:12"),
        ("index.docker.io/library/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("foo/bar", "docker.io/foo/bar:latest", "foo/bar:latest"),
        ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
        ("localhost:5000/a:b", "localhost:5000/a:b", "localhost:5000/a:b"),
        ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
        ("ghcr.io/a__b/c-d.e", "ghcr.io/a__b/c-d.e:latest", "ghcr.io/a__b/c-d.e:latest"),
        ("Host/a", "Host/a:latest", "Host/a:latest"),
        (f"debian@{DIGEST}", f"docker.io/library/debian@{DIGEST}", f"debian@{DIGEST}"),
        (f"debian:1@{DIGEST}", f"docker.io/library/debian:1@{DIGEST}", f"debian:1@{DIGEST}"),
        ("docker.io/foo.com/x", "docker.io/foo.com/x:latest", "docker.io/foo.com/x:latest"),
    ],
)
def test_parses(text, full, familiar):
    found = reference.parse(text)
    assert (str(found), found.familiar) == (full, familiar)
    assert reference.parse(found.familiar) == found


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "a:", "@", "../../x", "a/../b", "UPPER", "a/UPPER", "a" * 300, "a:" + "t" * 129),
        *("a b", "a\n", "a:b\n", "-a", "a//b", "/a", "a/", f"a@{DIGEST[:-1]}", "a@md5:" + "a" * 32),
        *(f"a@{DIGEST.upper()}", "ab" * 32, "http://a/b", "a..b", "a:..", "é", "localhost:x/a"),
        *(f"a@{DIGEST}\n", "user:pw@host/a", "."),
    ],
)
def test_refuses(text):
    with pytest.raises(UsageError, match="invalid image reference"):
        reference.parse(text)


def test_tags_and_pins():
    found = reference.parse("a:1")
    assert str(found.tagged("2")) == "docker.io/library/a:2"
    with pytest.raises(UsageError):
        found.tagged("../x")
    assert reference.parse("a", default_tag="").tag == ""


@given(st.text(max_size=40))
def test_never_anything_but_a_usage_error(text):
    try:
        found = reference.parse(text)
    except UsageError:
        return
    assert reference.parse(str(found)) == found
    assert ".." not in found.name.split("/")
